// Command payments serves the payments API. `payments -h` lists what else it
// does.
package main

import (
	"github.com/holdfast-dev/holdfast/pkg/service"
	"github.com/holdfast-dev/holdfast/services/payments"
)

func main() { service.Main(payments.Definition) }
