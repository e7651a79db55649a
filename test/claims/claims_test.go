package claims_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/test/claims"
)

const root = "../.."

const (
	// resultsVariable names the files, separated by colons, with what `go test
	// -json` printed, from the top of the repository on.
	resultsVariable = "HOLDFAST_TEST_RESULTS"
	// hasVariable lists what of docker and cluster the tests had.
	hasVariable = "HOLDFAST_TEST_HAS"
)

func ledger(t *testing.T) []claims.Claim {
	t.Helper()
	file, err := os.Open(filepath.Join(root, "docs", "claims.yaml"))
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	all, err := claims.Read(file)
	require.NoError(t, err)
	return all
}

func TestEveryClaimHasAProofAndAControl(t *testing.T) {
	require.NoError(t, claims.CheckForm(ledger(t), root))
}

func TestDocumentsCiteOnlyClaimsThatExist(t *testing.T) {
	require.NoError(t, claims.CheckCitations(ledger(t), root))
}

// CI runs every test first and hands its results over; without them there is
// nothing to hold the claims against.
func TestEveryProofAndControlRan(t *testing.T) {
	paths := filepath.SplitList(os.Getenv(resultsVariable))
	if len(paths) == 0 {
		t.Logf("%s names no test results: only the existence of proofs is checked", resultsVariable)
		return
	}
	results := claims.Results{}
	for _, path := range paths {
		if !filepath.IsAbs(path) {
			path = filepath.Join(root, path)
		}
		file, err := os.Open(path)
		require.NoError(t, err)
		some, err := claims.ReadResults(file)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		maps.Copy(results, some)
	}
	require.NoError(t, claims.CheckRan(ledger(t), results, strings.Fields(os.Getenv(hasVariable))...))
}

// tree is a module with one test and one claim that rests on it.
func tree(t *testing.T, claim string) (string, []claims.Claim) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "pkg", "x"), 0o755))
	source := "package x\n\nimport \"testing\"\n\nfunc TestHolds(t *testing.T) {}\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pkg", "x", "x_test.go"), []byte(source), 0o644))
	all, err := claims.Read(strings.NewReader("claims:\n" + claim))
	require.NoError(t, err)
	return dir, all
}

const goodClaim = `
  - id: it-holds
    sentence: It holds.
    status: proven
    proof: [{test: pkg/x.TestHolds, run: holdfast drill rolling}]
    control: [{test: pkg/x.TestHolds/without it, run: holdfast drill rolling --sabotage no-drain}]
`

// The control of the checker: each mistake that a ledger can have is found.
func TestABadLedgerIsRefused(t *testing.T) {
	dir, all := tree(t, goodClaim)
	require.NoError(t, claims.CheckForm(all, dir))
	for _, test := range []struct{ name, from, to, want string }{
		{"no proof", "proof: [{test: pkg/x.TestHolds, run: holdfast drill rolling}]", "proof: []", "needs a proof and a control"},
		{"no such test", "pkg/x.TestHolds,", "pkg/x.TestGone,", "no TestGone in pkg/x"},
		{"no such folder", "pkg/x.TestHolds,", "pkg/y.TestHolds,", "no TestHolds in pkg/y"},
		{"no test at all", "pkg/x.TestHolds,", "it was tried,", "not of the form"},
		{"no such drill", "drill rolling}", "drill nothing}", `no drill "nothing"`},
		{"no such sabotage", "no-drain", "no-luck", `unknown sabotage "no-luck"`},
		{"unknown status", "proven", "believed", `unknown status "believed"`},
		{"unknown need", "status: proven", "needs: luck\n    status: proven", `unknown need "luck"`},
		{"bad id", "it-holds", "It Holds", "kebab-case"},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Contains(t, goodClaim, test.from)
			dir, all := tree(t, strings.Replace(goodClaim, test.from, test.to, 1))
			require.ErrorContains(t, claims.CheckForm(all, dir), test.want)
		})
	}
	_, err := claims.Read(strings.NewReader("claims:\n  - id: x\n    controls: []\n"))
	require.ErrorContains(t, err, "controls")
}

func TestAProofThatDidNotPassIsFound(t *testing.T) {
	_, all := tree(t, goodClaim)
	const prefix = `{"Package":"github.com/holdfast-dev/holdfast/pkg/x","Test":"TestHolds`
	passed := prefix + `","Action":"pass"}` + "\n" + prefix + `/without_it","Action":"pass"}`
	for _, test := range []struct{ name, results, want string }{
		{"all passed", passed, ""},
		{"nothing ran", "", "pkg/x.TestHolds did not run"},
		{"the proof failed", strings.Replace(passed, "pass", "fail", 1), "pkg/x.TestHolds ended with fail"},
		{"the control was skipped", prefix + `","Action":"pass"}` + "\n" + prefix + `/without_it","Action":"skip"}`, "ended with skip"},
		{"it failed once", prefix + `","Action":"fail"}` + "\n" + passed, "pkg/x.TestHolds ended with fail"},
	} {
		t.Run(test.name, func(t *testing.T) {
			results, err := claims.ReadResults(strings.NewReader("# built\n" + test.results))
			require.NoError(t, err)
			err = claims.CheckRan(all, results)
			if test.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.want)
			}
		})
	}
}

func TestAClaimThatNeedsDockerIsHeldWhereThereIsDocker(t *testing.T) {
	_, all := tree(t, strings.Replace(goodClaim, "status:", "needs: docker\n    status:", 1))
	require.NoError(t, claims.CheckRan(all, claims.Results{}))
	require.NoError(t, claims.CheckRan(all, claims.Results{}, "cluster"))
	require.ErrorContains(t, claims.CheckRan(all, claims.Results{}, "cluster", "docker"), "did not run")
}

func TestADocumentThatCitesAnUnknownClaimIsFound(t *testing.T) {
	dir, all := tree(t, goodClaim)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "README.md"), []byte("It holds (claim:it-holds).\n"), 0o644))
	require.NoError(t, claims.CheckCitations(all, dir))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "OTHER.md"), []byte("It flies (claim:it-flies).\n"), 0o644))
	require.ErrorContains(t, claims.CheckCitations(all, dir), "claim:it-flies")
}
