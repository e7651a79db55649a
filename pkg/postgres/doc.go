// Package postgres is how a service talks to its database: opening a pool and
// waiting for the server, one transaction, migrations, and the translation of
// database trouble into errors that say whether to retry.
//
// It is not an abstraction over SQL. Stores write SQL and use pgx.
//
// Package embedded starts a server where there is none, package pgtest gives
// tests their databases.
package postgres
