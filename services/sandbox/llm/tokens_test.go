package llm

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestATokenIsFourBytesOfAWord(t *testing.T) {
	for text, want := range map[string]int64{
		"": 0, "  \n ": 0, "a": 1, "abcd": 1, "abcde": 2, "a b": 2, " a  b ": 2, "hold fast": 2, "holdfast": 2,
		"ééé": 2, // six bytes
		"日本語": 2, // three bytes each: the second begins within four, and no rune is cut
	} {
		require.Equal(t, want, countTokens(text), "%q", text)
	}
}

func TestWhatIsSplitIsAsLongAsWhatIsCounted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune("ab \nñ語🙂")), 0, 40, -1)).Draw(t, "text")
		tokens := split(text)
		require.Equal(t, countTokens(text), int64(len(tokens)))
		if len(tokens) > 0 {
			require.Equal(t, text, strings.Join(tokens, ""))
		}
	})
}
