// Command orders serves the orders API. `orders -h` lists what else it does.
package main

import (
	"github.com/holdfast-dev/holdfast/pkg/service"
	"github.com/holdfast-dev/holdfast/services/orders"
)

func main() { service.Main(orders.Definition) }
