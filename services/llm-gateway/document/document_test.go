package document

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// problems reads a file by a reader and returns the lines of what is wrong.
func problems(text string, read func(d *Document, root *yaml.Node)) []string {
	d := New("f.yaml")
	if root := d.Root([]byte(text)); root != nil {
		read(d, root)
	}
	if err := d.Err(); err != nil {
		return strings.Split(err.Error(), "\n")
	}
	return nil
}

func TestMistakesAreInTheOrderOfTheFile(t *testing.T) {
	d := New("f.yaml")
	d.Mistakef(7, "c")
	d.Mistakef(0, "a")
	d.Mistakef(3, "b %d", 1)
	require.EqualError(t, d.Err(), "f.yaml: a\nf.yaml:3: b 1\nf.yaml:7: c")
	require.NoError(t, New("f.yaml").Err())
}

func TestAFileIsOneDocumentOfBoundedSize(t *testing.T) {
	none := func(*Document, *yaml.Node) {}
	require.Empty(t, problems("a: 1", none))
	require.Equal(t, []string{"f.yaml: it is empty: was it cut short?"}, problems("# nothing\n", none))
	require.Equal(t, []string{"f.yaml:2: a second YAML document begins here; one file is one document"}, problems("a: 1\n---\nb: 1\n", none))
	require.Equal(t, []string{"f.yaml: it has 1048577 bytes; more than 1048576 are not read"}, problems(strings.Repeat("#", MaxSize+1), none))
	got := problems("a: 1\nb: [\n", none)
	require.Len(t, got, 1)
	require.Contains(t, got[0], "it is not YAML")
	require.Regexp(t, `^f\.yaml:\d+: `, got[0])
}

func TestMembersAreKnownOnceAndThere(t *testing.T) {
	var seen []string
	got := problems("b: 1\na: 1\nb: 2\nc:\n  d: 1\n1: x\n", func(d *Document, root *yaml.Node) {
		note := func(n *yaml.Node) { seen = append(seen, n.Value) }
		d.Fields(root, "it", map[string]Field{"a": {Read: note}, "b": {Read: note}, "z": {Read: note, Required: true}})
	})
	require.Equal(t, []string{
		`f.yaml:1: it has no "z"`,
		`f.yaml:3: it has "b" twice; it is in line 1 already`,
		`f.yaml:4: it may not have "c", but only a, b, z`,
		`f.yaml:6: it has a name that is no text; put it into quotes`,
	}, got)
	require.Equal(t, []string{"1", "1"}, seen)
}

func TestAliasesAndMergesAreRefused(t *testing.T) {
	read := func(d *Document, root *yaml.Node) {
		any := func(n *yaml.Node) { d.Text(n, "x") }
		d.Fields(root, "it", map[string]Field{"a": {Read: any}, "b": {Read: any}})
	}
	require.Equal(t, []string{"f.yaml:2: x is an alias, which this file may not have"}, problems("a: &x one\nb: *x\n", read))
	require.Equal(t, []string{`f.yaml:2: it has a name that is no text; put it into quotes`}, problems("a: &x one\n<<: *x\n", read))
}

func TestEachKindOfScalarSaysWhatItMustBe(t *testing.T) {
	for _, c := range []struct{ text, read, problem string }{
		{"hello", "text", ""},
		{`"12"`, "text", ""},
		{"12", "text", "x must be a text; put it into quotes"},
		{"true", "text", "x must be a text; put it into quotes"},
		{`" "`, "text", "x is empty"},
		{"[a]", "text", "x must be a text"},
		{"", "text", "x has no value; it must be a text"},
		{"12", "whole", ""},
		{"1_2", "whole", ""},
		{"101", "whole", "x must be 1 to 100"},
		{"0", "whole", "x must be 1 to 100"},
		{"1.5", "whole", "x must be a whole number, such as 10"},
		{`"12"`, "whole", "x must be a whole number, such as 10"},
		{"99999999999999999999", "whole", "x must be a whole number, such as 10"},
		{"{a: 1}", "whole", "x must be a whole number"},
		{"true", "bool", ""},
		{"1", "bool", "x must be true or false"},
		{"[]", "bool", "x must be true or false"},
		{"1m30s", "duration", ""},
		{"30", "duration", "x must be a duration with its unit, such as 500ms or 1m30s"},
		{"0s", "duration", "x must be above 0s and at most 1h0m0s"},
		{"-1s", "duration", "x must be above 0s and at most 1h0m0s"},
		{"61m", "duration", "x must be above 0s and at most 1h0m0s"},
		{"[]", "duration", "x must be a duration"},
		{"2026-02-05", "date", ""},
		{`"2026-02-05"`, "date", ""},
		{"2026-02-30", "date", "x must be a date, such as 2026-02-05"},
		{"[]", "date", "x must be a date"},
		{"1.25", "decimal", ""},
		{`"1.25"`, "decimal", ""},
		{"true", "decimal", "x must be a decimal number in quotes"},
		{"[]", "decimal", "x must be a decimal number"},
	} {
		got := problems("v: "+c.text+"\n", func(d *Document, root *yaml.Node) {
			node := root.Content[1]
			map[string]func(){
				"text":     func() { d.Text(node, "x") },
				"whole":    func() { d.Whole(node, "x", 1, 100) },
				"bool":     func() { d.Bool(node, "x") },
				"duration": func() { d.Duration(node, "x", time.Hour) },
				"date":     func() { d.Date(node, "x") },
				"decimal":  func() { d.Decimal(node, "x") },
			}[c.read]()
		})
		if c.problem == "" {
			require.Empty(t, got, "%s as %s", c.text, c.read)
			continue
		}
		require.Equal(t, []string{"f.yaml:1: " + c.problem}, got, "%s as %s", c.text, c.read)
	}
}

func TestScalarsAreReadAsTheyStand(t *testing.T) {
	problems("[hello, 1_000, true, false, 90s, 2026-02-05, 1.10]", func(d *Document, root *yaml.Node) {
		text, _ := d.Text(root.Content[0], "x")
		require.Equal(t, "hello", text)
		whole, _ := d.Whole(root.Content[1], "x", 1, 5000)
		require.EqualValues(t, 1000, whole)
		require.True(t, d.Bool(root.Content[2], "x"))
		require.False(t, d.Bool(root.Content[3], "x"))
		duration, _ := d.Duration(root.Content[4], "x", time.Hour)
		require.Equal(t, 90*time.Second, duration)
		date, _ := d.Date(root.Content[5], "x")
		require.Equal(t, "2026-02-05", date.Format(time.DateOnly))
		decimal, _ := d.Decimal(root.Content[6], "x")
		require.Equal(t, "1.10", decimal, "no float came between")
	})
}
