//go:build !outlier

package service

// balancing is how calls are spread: a replica that answers, with whatever, gets
// its turn. Built with `-tags outlier`, one that only fails is left out for a while.
const balancing = roundRobin
