// Package flags decides, for each tenant, whether a new behaviour is on yet. It
// separates releasing from deploying: code goes out switched off and is turned
// on for a share of the tenants that grows, and off again within seconds, with
// no rollout.
//
// A service has a file with its flags built in, and asks through OpenFeature
// (https://openfeature.dev), so that another provider can take the place of the
// file. A second file, read again when it changes, says how far each rollout is.
// Two releases read that file at once while one is rolled out, so a flag that a
// release does not know is none of its business, and one that is missing keeps
// what is built in.
//
// A flag is borrowed: it has an owner and a day on which it must be gone, and
// package flagstest fails the tests of whoever keeps it longer. It is for what is
// temporary; what is configured for good belongs into a Config.
package flags
