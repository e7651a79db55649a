// Package openapi holds the OpenAPI description of the whole HTTP API,
// generated from the protos by `make generate`.
package openapi

import _ "embed"

// JSON is the OpenAPI v2 document of every service's HTTP API.
//
//go:embed holdfast.swagger.json
var JSON []byte
