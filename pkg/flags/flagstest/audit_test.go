package flagstest_test

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/flags/flagstest"
)

const file = `
flags:
  some-flag:
    description: Something is different.
    owner: orders
    expires: 2027-05-31
    percentage: 0
`

func source(name string) fstest.MapFS {
	return fstest.MapFS{name: {Data: []byte("package x\n\nconst flag = \"some-flag\"\n")}}
}

// TestAFlagThatIsKeptTooLongIsFound: the audit is the only thing that makes a
// flag go, so each way to keep one is tried.
func TestAFlagThatIsKeptTooLongIsFound(t *testing.T) {
	in2026 := time.Date(2026, time.December, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name, file, source string
		now                time.Time
		want               string
	}{
		{"in its time, owned and used", file, "x.go", in2026, ""},
		{"past its day", file, "x.go", in2026.AddDate(1, 0, 0), "had to be gone by 2027-05-31: orders decides"},
		{"used nowhere", strings.Replace(file, "some-flag", "other-flag", 1), "x.go", in2026, "other-flag is asked for nowhere"},
		{"used in tests only", file, "x_test.go", in2026, "some-flag is asked for nowhere"},
		{"without an owner", strings.Replace(file, "owner: orders", "owner:", 1), "x.go", in2026, "it has no owner"},
		{"without an expiry", strings.Replace(file, "expires: 2027-05-31", "", 1), "x.go", in2026, "it has no expiry"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := flagstest.Audit([]byte(test.file), source(test.source), test.now)
			if test.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.want)
			}
		})
	}
}
