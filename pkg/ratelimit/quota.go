package ratelimit

import (
	"math"
	"strconv"
	"time"
)

// Quota is what one key may use: a token bucket that holds Burst tokens and gets
// Rate new ones a second.
type Quota struct {
	// Name names it to clients; lower-case letters and dashes.
	Name string
	// Rate is in requests a second, above 0.
	Rate float64
	// Burst is how many may come at once, at least 1.
	Burst int
}

// refill is how long an empty bucket takes to be full.
func (q Quota) refill() time.Duration { return q.wait(float64(q.Burst)) }

// wait is how long so many tokens take to come, rounded up to what RetryInfo
// and clients' timers can tell.
func (q Quota) wait(tokens float64) time.Duration {
	millis := math.Ceil(tokens / q.Rate * 1000)
	if millis > maxWaitMillis {
		millis = maxWaitMillis
	}
	return time.Duration(millis) * time.Millisecond
}

// maxWaitMillis, a year, keeps waits of tiny rates in range.
const maxWaitMillis = 365 * 24 * 60 * 60 * 1000

// policy is the quota as an item of RateLimit-Policy: a bucket that starts full
// gives q requests in a window of w seconds, and as many in every one after it.
func (q Quota) policy() string {
	return strconv.Quote(q.Name) + ";q=" + strconv.Itoa(q.Burst) + ";w=" + strconv.FormatInt(max(1, seconds(q.refill())), 10)
}

// seconds rounds up: early is wasted.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
