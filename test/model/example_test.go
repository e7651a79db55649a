package model_test

import (
	"fmt"

	"github.com/holdfast-dev/holdfast/test/model"
)

// The whole protocol, in every order in which things can happen.
func Example() {
	report := model.Model{Owners: 3, UnderWay: 2}.Explore(model.Rules()...)
	fmt.Println(report.States, "states,", report.Depth, "steps deep, violation:", report.Violation)
	// Output: 56149 states, 26 steps deep, violation: <nil>
}

// What happens if every send has a key of its own instead of a derived one.
func Example_withoutDerivedKeys() {
	m := model.Model{Owners: 2, UnderWay: 1, Without: model.Protections{DerivedKey: true}}
	fmt.Print(m.Explore(model.OneCharge).Violation)
	// Output:
	// broken: the provider charges at most once
	//   1. a request with payload A arrives; its first commit makes the key pending
	//   2. the first owner sends the charge
	//   3. the charge of the first owner arrives: paid, and the answer reaches it
	//   4. the lease is over: a completer takes over under epoch 2
	//   5. the completer of epoch 2 reads how old the operation is: inside the provider's horizon
	//   6. the completer of epoch 2 looks the key up at the provider: nothing
	//   7. the completer of epoch 2 sends the charge
	//   8. the charge of the completer of epoch 2 arrives: paid, and the answer reaches it
}
