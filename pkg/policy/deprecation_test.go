package policy_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/policy"
	policyv1 "github.com/holdfast-dev/holdfast/proto/holdfast/policy/v1"
)

func old(since, sunset, link string) *policyv1.MethodPolicy {
	return write(func(p *policyv1.MethodPolicy) {
		p.Deprecation = &policyv1.Deprecation{Since: since, Sunset: sunset, Link: link}
	})
}

func TestADeprecationThatCannotBeIsRefused(t *testing.T) {
	for name, row := range map[string]struct {
		rpc  rpc
		says string
	}{
		"no day":                       {rpc{policy: old("", "", ""), deprecated: true}, `since of its deprecation is ""`},
		"a day that is none":           {rpc{policy: old("2027-02-30", "", ""), deprecated: true}, `"2027-02-30", must be a date`},
		"a time":                       {rpc{policy: old("2027-01-31T00:00:00Z", "", ""), deprecated: true}, "must be a date"},
		"a sunset that is no day":      {rpc{policy: old("2027-01-31", "soon", ""), deprecated: true}, `sunset of its deprecation is "soon"`},
		"gone before it is deprecated": {rpc{policy: old("2027-01-31", "2027-01-30", ""), deprecated: true}, "its sunset, 2027-01-30, comes before"},
		"a link to nowhere":            {rpc{policy: old("2027-01-31", "", "docs/new.md"), deprecated: true}, "must be an https URL"},
		"a link that breaks out":       {rpc{policy: old("2027-01-31", "", `https://a.example/>; rel="self`), deprecated: true}, "must be an https URL"},
		"generators are not told":      {rpc{policy: old("2027-01-31", "", "")}, "option deprecated = true"},
		"clients are not told":         {rpc{policy: write(func(*policyv1.MethodPolicy) {}), deprecated: true}, "does not say since when"},
	} {
		t.Run(name, func(t *testing.T) {
			row.rpc.name = "Do"
			_, err := policy.Load(service(t, row.rpc))
			require.ErrorContains(t, err, row.says)
			require.ErrorContains(t, err, "/test.v1.Service/Do")
		})
	}
}

// The control: what the rows above spoil works unspoilt.
func TestADeprecationIsRead(t *testing.T) {
	set, err := policy.Load(service(t,
		rpc{name: "Going", policy: old("2027-01-31", "2027-01-31", "https://a.example/new?a=b"), deprecated: true},
		rpc{name: "Staying", policy: write(func(*policyv1.MethodPolicy) {})},
	))
	require.NoError(t, err)
	m, _ := set.Lookup("/test.v1.Service/Going")
	require.Equal(t, time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC), m.Deprecation.Since)
	require.Equal(t, m.Deprecation.Since, m.Deprecation.Sunset)
	require.Equal(t, "https://a.example/new?a=b", m.Deprecation.Link)
	m, _ = set.Lookup("/test.v1.Service/Staying")
	require.Nil(t, m.Deprecation)
}

// TestTheMethodTableShowsWhatWillGo, of which the documents of today have none.
func TestTheMethodTableShowsWhatWillGo(t *testing.T) {
	set, err := policy.Load(service(t,
		rpc{name: "Going", policy: old("2027-01-31", "2027-07-31", "https://a.example/new"), deprecated: true},
		rpc{name: "Open", policy: old("2027-01-31", "", ""), deprecated: true},
	))
	require.NoError(t, err)
	require.Contains(t, document(set), "| `Going` (deprecated since 2027-01-31, gone from 2027-07-31: [instead](https://a.example/new)) | key |")
	require.Contains(t, document(set), "| `Open` (deprecated since 2027-01-31) | key |")
}
