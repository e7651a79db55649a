package wire

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestARequestIsNeverReadAsMoreTokensThanItsBytes(t *testing.T) {
	body := `{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("日本", 100) + `"}]}`
	require.EqualValues(t, len(body)+framing, EstimateTokens([]byte(body)))
}

func TestAPictureIsNotCountedByItsBytes(t *testing.T) {
	data := strings.Repeat("QUJD", 50_000)
	at := func(body string, pictures int, inside string) {
		t.Helper()
		require.EqualValues(t, len(body)-len(inside)*pictures+framing+pictureTokens*pictures, EstimateTokens([]byte(body)))
	}
	url := "data:image/png;base64," + data
	part := `{"type":"image_url","image_url":{"url":"` + url + `","detail":"high"}}`
	at(`{"messages":[{"role":"user","content":[{"type":"text","text":"x"},`+part+`,`+part+`]}]}`, 2, url)
	part = `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + data + `"}}`
	at(`{"messages":[{"role":"user","content":[`+part+`]}]}`, 1, data)
	at(`{"messages":[{"role":"user","content":[{"type":"tool_result","content":[`+part+`]}]}]}`, 1, data)
	at(`{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}}]}]}`, 1, "")
	at(`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]}`, 1, "")
	at(`{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"`+data+`"}},{"type":"image"}]}]}`, 0, "")
	at(`{"messages":[{"role":"user","content":"\"image\" `+url+`"}],"tools":[`+part+`]}`, 0, "")
}

func TestABodyThatIsNoRequestHasAnEstimate(t *testing.T) {
	for _, body := range []string{``, `"image`, `{"messages":[{"content":[{"image_url":{"url":`} {
		require.GreaterOrEqual(t, EstimateTokens([]byte(body)), int64(len(body)))
	}
}
