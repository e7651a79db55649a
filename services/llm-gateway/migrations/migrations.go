// Package migrations holds the schema of the LLM gateway's database, one goose
// migration a file.
package migrations

import "embed"

// FS is the migrations.
//
//go:embed *.sql
var FS embed.FS
