//go:build faults

package integration

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	"github.com/holdfast-dev/holdfast/test/procfs"
)

// BenchmarkOrder places orders over HTTP, the whole way: gateway, orders, payments,
// sandbox, and the databases of both services; with keys and, on a platform beside
// it, without. They take turns, so that what the machine does otherwise hits both.
// CPU is that of the three services, without Postgres' and the client's own.
func BenchmarkOrder(b *testing.B) {
	with, without := benchPlatform(b, nil), benchPlatform(b, map[string]string{keylessVariable: "yes"})
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			var spent [2]spending
			for b.Loop() {
				for n, p := range []*platform{with, without} {
					spent[n].add(p.placeMany(b, clients))
				}
			}
			b.ReportMetric(spent[0].rate(), "orders/s")
			b.ReportMetric(spent[1].rate(), "orders/s-without-keys")
			b.ReportMetric(spent[0].rate()/spent[1].rate(), "ratio")
			b.ReportMetric(spent[0].cpu(), "CPU-us/order")
			b.ReportMetric(spent[1].cpu(), "CPU-us/order-without-keys")
		})
	}
}

func benchPlatform(b *testing.B, environment map[string]string) *platform {
	b.Helper()
	p := startWith(b, pgtest.New(b, nil, "integration"), pgtest.New(b, nil, "integration"), environment)
	p.placeMany(b, 32) // connections are made, statements prepared
	return p
}

// spending is what so many orders took.
type spending struct {
	orders     int
	took, used time.Duration
}

func (s *spending) add(more spending) {
	s.orders, s.took, s.used = s.orders+more.orders, s.took+more.took, s.used+more.used
}

func (s spending) rate() float64 { return float64(s.orders) / s.took.Seconds() }
func (s spending) cpu() float64  { return float64(s.used.Microseconds()) / float64(s.orders) }

// placeMany places orders for a second or so, by so many clients at once.
func (p *platform) placeMany(b *testing.B, clients int) spending {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	var placed atomic.Int64
	var work sync.WaitGroup
	cpu, began := p.cpu(b), time.Now()
	for range clients {
		work.Go(func() {
			for time.Since(began) < time.Second {
				if err := p.placeOne(client); err != nil {
					b.Error(err)
					return
				}
				placed.Add(1)
			}
		})
	}
	work.Wait()
	return spending{int(placed.Load()), time.Since(began), p.cpu(b) - cpu}
}

func (p *platform) placeOne(client *http.Client) error {
	request, err := http.NewRequest(http.MethodPost, "http://"+p.ordersProcess.http+"/v1/orders", strings.NewReader(order("")))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
	request.Header.Set("Idempotency-Key", idempotency.NewKey().String())
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("the order was answered with %s: %s", response.Status, body)
	}
	return err
}

// cpu is the CPU time that the services have used so far.
func (p *platform) cpu(b *testing.B) time.Duration {
	b.Helper()
	var used time.Duration
	for _, process := range []*process{p.ordersProcess, p.paymentsProcess, p.sandboxProcess} {
		more, err := procfs.CPU(process.cmd.Process.Pid)
		require.NoError(b, err)
		used += more
	}
	return used
}
