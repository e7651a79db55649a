package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/pkg/auth"
)

// smokeTests are one write of each service: the smallest request that goes
// through everything the service is made of. A %s is a new reference.
var smokeTests = map[string]struct{ path, body, wants string }{
	local.Orders: {
		"/v1/orders", `{"lines":[{"product_id":"espresso-beans","quantity":1}],"payment_method":"pm_card_ok","shipping_note":"smoke test %s"}`,
		`"ORDER_STATE_PAID"`,
	},
	local.Payments: {
		"/v1/payments:charge", `{"reference":"%s","amount":{"currencyCode":"USD","units":"1"},"payment_method":"pm_card_ok"}`,
		`"PAYMENT_STATE_CAPTURED"`,
	},
	// The sandbox's model says what it is told to.
	local.LLMGateway: {
		"/v1/llm:generate", `{"prompt":{"model":"sandbox-small","max_tokens":16,"messages":[{"role":"ROLE_USER","parts":[{"text":"smoke test %s [[say it works]]"}]}]}}`,
		`"it works"`,
	},
}

func smokeCommand() *cobra.Command {
	var address, key string
	command := &cobra.Command{
		Use:   "smoke SERVICE",
		Short: "Ask one thing of a service, twice: is it worth having traffic?",
		Long: `Sends the service one write over HTTP, with an idempotency key, and sends it
again: the answer must be right, and the same. Exit code 1 means that it is not.

It costs real money where the card processor or the models are real: it is for the
sandbox.`,
		Args:      exactlyOne("service"),
		ValidArgs: []string{local.Orders, local.Payments, local.LLMGateway},
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, ok := smokeTests[args[0]]; !ok {
				return fmt.Errorf("there is no smoke test for %q: there are some for orders, payments and llm-gateway", args[0])
			}
			if err := smoke(cmd.Context(), args[0], address, key); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s at %s answers rightly\n", args[0], address)
			return err
		},
	}
	command.Flags().StringVar(&address, "http", "localhost:8080", "where the service answers HTTP")
	command.Flags().StringVar(&key, "key", fromEnvironment("HOLDFAST_API_KEY", auth.DevelopmentKey), "API key (or HOLDFAST_API_KEY)")
	command.Flags().Lookup("key").DefValue = "" // it may be a secret
	return command
}

// smokeAttempts is how often the write is sent before its error counts: a test of
// whether answers are right must not fail for one that was late. The key makes
// sending it again harmless.
const smokeAttempts = 3

// smoke sends the write and its repetition.
func smoke(ctx context.Context, service, address, credential string) error {
	test := smokeTests[service]
	key, body := uuid.Must(uuid.NewV7()).String(), fmt.Sprintf(test.body, uuid.NewString())
	var first []byte
	for _, replay := range []bool{false, true} {
		var answer []byte
		var err error
		for attempt := range smokeAttempts {
			if attempt > 0 && !waited(ctx, time.Second) {
				break
			}
			if answer, err = smokeOnce(ctx, "http://"+address+test.path, body, key, credential, replay); err == nil {
				break
			}
		}
		switch {
		case err != nil:
			return fmt.Errorf("smoke test of %s: %w", service, err)
		case !strings.Contains(string(answer), test.wants):
			return fmt.Errorf("smoke test of %s: the answer is not %s: %s", service, test.wants, answer)
		case replay && !bytes.Equal(answer, first):
			return fmt.Errorf("smoke test of %s: a repetition was answered with other bytes", service)
		}
		first = answer
	}
	return nil
}

// waited waits, and returns false if ctx ends first.
func waited(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func smokeOnce(ctx context.Context, url, body, key, credential string, replay bool) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+credential)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", response.Status, answer)
	}
	if replay && response.Header.Get("Idempotent-Replayed") != "true" {
		return nil, errors.New("a repetition was not answered as one")
	}
	return answer, nil
}
