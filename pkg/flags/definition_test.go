package flags

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestATenantKeepsItsPlaceAndAGrowingShareOnlyAddsTenants is what makes a
// rollout by percentage bearable: nobody gets the new, loses it, and gets it
// again.
func TestATenantKeepsItsPlaceAndAGrowingShareOnlyAddsTenants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := Flag(rapid.StringMatching(`[a-z]{1,10}`).Draw(t, "flag"))
		tenant := rapid.String().Draw(t, "tenant")
		less := rapid.Float64Range(0, 100).Draw(t, "less")
		more := rapid.Float64Range(less, 100).Draw(t, "more")
		few, many := Definition{Percentage: less}, Definition{Percentage: more}
		if few.includes(name, tenant) && !many.includes(name, tenant) {
			t.Fatalf("%q has the flag at %v %% and not at %v %%", tenant, less, more)
		}
		if again := (Definition{Percentage: less, Owner: "another"}); few.includes(name, tenant) != again.includes(name, tenant) {
			t.Fatalf("%q has the flag and has it not", tenant)
		}
		if (Definition{Percentage: 0}).includes(name, tenant) || !(Definition{Percentage: 100}).includes(name, tenant) {
			t.Fatalf("none is not nobody, or all is not everybody")
		}
	})
}

// share counts how many of some tenants have a flag, in percent.
func share(percentage float64, name Flag) float64 {
	const tenants = 20_000
	included := 0
	for i := range tenants {
		if (Definition{Percentage: percentage}).includes(name, fmt.Sprintf("tenant-%d", i)) {
			included++
		}
	}
	return float64(included) / tenants * 100
}

func TestTheShareIsAboutThePercentage(t *testing.T) {
	for _, percentage := range []float64{0.5, 5, 33.33, 50, 90} {
		// Five standard deviations of 20,000 coin tosses.
		require.InDelta(t, percentage, share(percentage, "some-flag"), 1.8, "%v %%", percentage)
	}
	require.Zero(t, share(0, "some-flag"))
	require.InDelta(t, 100, share(100, "some-flag"), 0)
}

// TestFlagsPickTheirTenantsApart: of the tenants in the first tenth of one flag,
// a tenth is in the first tenth of another.
func TestFlagsPickTheirTenantsApart(t *testing.T) {
	tenth := Definition{Percentage: 10}
	first, both := 0, 0
	for i := range 20_000 {
		tenant := fmt.Sprintf("tenant-%d", i)
		if tenth.includes("one", tenant) {
			first++
			if tenth.includes("another", tenant) {
				both++
			}
		}
	}
	require.InDelta(t, 10, float64(both)/float64(first)*100, 4)
}

// TestThePlaceOfATenantIsTheSameForEver: whoever changes the hash moves tenants
// of a rollout that is under way.
func TestThePlaceOfATenantIsTheSameForEver(t *testing.T) {
	got := map[string]bool{}
	for _, tenant := range []string{"acme", "globex", "initech", "umbrella"} {
		got[tenant] = Definition{Percentage: 50}.includes("orders-decline-message", tenant)
	}
	require.Equal(t, map[string]bool{"acme": true, "globex": false, "initech": true, "umbrella": true}, got)
}

const good = `
flags:
  some-flag:
    description: Something is different.
    owner: orders
    expires: 2027-05-31
    percentage: 12.5
`

func TestABadFileIsRefusedAndSaysWhy(t *testing.T) {
	all, err := Parse([]byte(good))
	require.NoError(t, err)
	require.InDelta(t, 12.5, all["some-flag"].Percentage, 0)
	for _, test := range []struct{ name, from, to, want string }{
		{"no owner", "owner: orders", "owner: ''", `"some-flag": it has no owner`},
		{"no expiry", "    expires: 2027-05-31\n", "", `"some-flag": it has no expiry`},
		{"no description", "Something is different.", "''", "no description"},
		{"not a day", "2027-05-31", "soon", "soon"},
		{"above all", "12.5", "101", "must be 0 to 100"},
		{"below none", "12.5", "-1", "must be 0 to 100"},
		{"not a number", "12.5", ".nan", "must be 0 to 100"},
		{"a misspelt field", "percentage", "percent", "percent"},
		{"a name with a space", "some-flag", "some flag", "words with hyphens"},
		{"cut short", good, "\n", "no flags"},
		{"two documents", good, good + "---\n" + good, "more than one"},
		{"not YAML", good, "flags: [", "yaml"},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Contains(t, good, test.from)
			_, err := Parse([]byte(strings.Replace(good, test.from, test.to, 1)))
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestAFlagExpiresWhenItsDayBegins(t *testing.T) {
	all, err := Parse([]byte(good))
	require.NoError(t, err)
	day := time.Date(2027, time.May, 31, 0, 0, 0, 0, time.UTC)
	require.False(t, all["some-flag"].Expired(day.Add(-time.Second)))
	require.True(t, all["some-flag"].Expired(day))
}
