package service

import "errors"

var (
	// errForced says that a drain cut something off: the process exits with 1.
	errForced = errors.New("the drain was forced: something was cut off")
	// errStopping says that it is too late to drain or undrain.
	errStopping = errors.New("the process is shutting down")
)
