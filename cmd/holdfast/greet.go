package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/pkg/auth"
)

// greet prints where everything is and what to paste first.
func (p *platform) greet(o upOptions) {
	c := p.console
	c.printf("\n")
	fact := func(name, value string) { c.printf("  %s%s\n", bold.Render(fmt.Sprintf("%-12s", name)), value) }
	fact("API", p.frontURL+"   "+dim.Render("everything is linked there; /docs to browse and try"))
	for _, name := range []string{local.Orders, local.Payments, local.LLMGateway, local.Sandbox} {
		at := p.addresses[name]
		value := fmt.Sprintf("http %s  probes %s  admin %s", at.HTTP, at.Probe, at.Admin)
		if name != local.Sandbox {
			value = fmt.Sprintf("gRPC %s  %s", at.GRPC, value)
		}
		fact(name, value)
	}
	fact("Postgres", p.postgres.Address+"   "+dim.Render(p.postgres.Source))
	kept := p.data.Dir
	if o.ephemeral {
		kept += "   " + dim.Render("removed at the end")
	}
	fact("data, logs", kept)
	fact("key", auth.DevelopmentKey+"   "+dim.Render("development only"))
	c.printf("\nPaste these into another terminal. Place an order, with a key of its own:\n\n")
	c.printf("%s", p.pastes(executable()))
	c.printf("\n%s\n", dim.Render("Ctrl-C drains everything and exits."))
}

// pastes are the first things to try.
func (p *platform) pastes(holdfast string) string {
	order := func(key string) string {
		return indent(`curl -i ` + p.frontURL + `/v1/orders \
  -H 'Authorization: Bearer ` + auth.DevelopmentKey + `' \
  -H 'Content-Type: application/json' -H "Idempotency-Key: ` + key + `" \
  -d '{"lines":[{"product_id":"espresso-beans","quantity":2}],"payment_method":"pm_card_ok"}'`)
	}
	return strings.Join([]string{
		indent("KEY=$(" + holdfast + " uuid)"),
		order("$KEY"),
		"\nSend the very same again: it stays one order, and the answer is the stored one, byte for byte:\n\n",
		order("$KEY"),
		"\nKill a service and place another order at once: the service is back before you look:\n\n",
		indent("kill -9 $(cat " + quote(p.data.PIDFile(local.Payments)) + ")"),
		order("$(" + holdfast + " uuid)"),
		"\nAsk a language model, in the protocol of OpenAI:\n\n",
		indent(`curl -i ` + p.frontURL + `/v1/chat/completions \
  -H 'Authorization: Bearer ` + auth.DevelopmentKey + `' -H 'Content-Type: application/json' \
  -d '{"model":"gpt-sandbox","messages":[{"role":"user","content":"Say something."}]}'`),
		"\nReplace every replica of a platform under load, and count what failed:\n\n",
		indent(holdfast + " drill rolling"),
	}, "")
}

// executable is how the reader can call this command: by a short path if there
// is one.
func executable() string {
	path, err := os.Executable()
	if err != nil {
		return "holdfast"
	}
	if wd, err := os.Getwd(); err == nil {
		if short, err := filepath.Rel(wd, path); err == nil && !strings.HasPrefix(short, "..") {
			return "./" + short
		}
	}
	return quote(path)
}

// quote quotes for a shell what needs it.
func quote(s string) string {
	if strings.ContainsAny(s, " '\"$\\`&;()") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(text, "\n", "\n    ") + "\n"
}
