package service

import (
	"time"

	"google.golang.org/grpc/keepalive"
)

// pingEvery is how often a client tries a connection on which nothing comes, so
// that one whose other end is gone without a word is noticed in half a minute.
const pingEvery = 20 * time.Second

// agreed is what clients and servers keep to, of connections that are tried so
// often: a server sends away who pings more than twice as often, a few times in a
// row. Twice, because a ping that a network held up comes close before the next.
func agreed(every time.Duration) (keepalive.ClientParameters, keepalive.EnforcementPolicy) {
	return keepalive.ClientParameters{Time: every, Timeout: 5 * time.Second, PermitWithoutStream: true},
		keepalive.EnforcementPolicy{MinTime: every / 2, PermitWithoutStream: true}
}
