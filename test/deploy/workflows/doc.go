// Package workflows holds the GitHub workflows to what keeps them safe and true:
// actions pinned by commit, the least permissions, an end to every job, and no
// call of make that make does not know. That they are valid is actionlint's to say.
package workflows
