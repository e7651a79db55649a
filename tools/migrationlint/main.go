// Migrationlint reads goose SQL migrations with Postgres' own parser and
// refuses what would stop, or be missed by, the release that still serves while
// they run: long locks, dropped and renamed names, rewrites, and migrations
// that changed after they were written. docs/migrations.md has every rule.
//
//	migrationlint FOLDER...                   lint
//	migrationlint -against REVISION FOLDER... lint, and compare with a commit
//	migrationlint -record FOLDER...           note new migrations in migrations.sum
//	migrationlint -release VERSION FOLDER...  note that all of them are released
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "migrationlint:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("migrationlint", flag.ContinueOnError)
	against := flags.String("against", "", "a git `revision` whose migrations must still be there, unchanged")
	record := flags.Bool("record", false, "note new migrations in migrations.sum")
	release := flags.String("release", "", "note that every migration is part of `version` or an earlier one")
	if err := flags.Parse(args); err != nil {
		return err
	}
	folders := flags.Args()
	if len(folders) == 0 {
		return errors.New("name the folders of the migrations")
	}
	found := 0
	for _, folder := range folders {
		switch {
		case *release != "":
			if err := appendRelease(folder, *release); err != nil {
				return err
			}
			continue
		case *record:
			if err := recordNew(folder); err != nil {
				return err
			}
		}
		findings, err := Lint(os.DirFS(folder))
		if err != nil {
			return fmt.Errorf("%s: %w", folder, err)
		}
		if *against != "" {
			older, err := compareWith(ctx, folder, *against, stdout)
			if err != nil {
				return fmt.Errorf("%s: %w", folder, err)
			}
			findings = append(findings, older...)
		}
		for _, f := range findings {
			f.File = filepath.Join(folder, f.File)
			fmt.Fprintln(stdout, f)
		}
		found += len(findings)
	}
	if found > 0 {
		return fmt.Errorf("%d problems; docs/migrations.md says what to do instead", found)
	}
	return nil
}
