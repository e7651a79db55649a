package config

import "fmt"

// Environment is how much a process may assume about who can reach it.
type Environment string

// The environments. Production is the default: forgetting to say so must not
// open anything.
const (
	// Development adds what helps people: reflection, the API page, known keys.
	Development Environment = "development"
	// Production has none of it, and refuses known keys.
	Production Environment = "production"
)

// UnmarshalText accepts the names of the two environments.
func (e *Environment) UnmarshalText(text []byte) error {
	switch name := Environment(text); name {
	case Development, Production:
		*e = name
		return nil
	default:
		return fmt.Errorf("environment %q, must be development or production", text)
	}
}
