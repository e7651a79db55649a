package llm

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// How many rows a page of the invoice holds.
const (
	defaultPage = 100
	maxPage     = 10_000
)

// maxScript is more than any script needs.
const maxScript = 1 << 20

// Page is a part of the invoice, oldest first.
type Page struct {
	Rows []Row `json:"rows"`
	// Next is the after of the next page; 0 on the last.
	Next uint64 `json:"next,omitempty"`
	// Totals are those of the whole selection; on its first page only.
	Totals []Total `json:"totals,omitempty"`
}

// control routes what is no provider's: the script, the invoice, the lookup.
func (h *Handler) control() {
	h.mux.HandleFunc("POST /llm/faults", h.setScript)
	h.mux.HandleFunc("GET /llm/faults", func(w http.ResponseWriter, _ *http.Request) { reply(w, h.Script()) })
	h.mux.HandleFunc("DELETE /llm/faults", h.clearScript)
	h.mux.HandleFunc("GET /llm/invoice", h.pageOfInvoice)
	h.mux.HandleFunc("GET /llm/requests/{id}", h.lookup)
	h.mux.HandleFunc("GET /llm/prices", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"unit": "nano-dollars (1e-9 USD) a million tokens", "models": Models})
	})
}

func (h *Handler) setScript(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxScript))
	if err != nil {
		refuseControl(w, "the script did not arrive, or is too long")
		return
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var s Script
	if err := decoder.Decode(&s); err != nil {
		refuseControl(w, err.Error())
		return
	}
	if err := h.SetScript(s); err != nil {
		h.failControl(w, err)
		return
	}
	h.log.InfoContext(r.Context(), "model providers scripted", "rules", len(s.Rules), "seed", s.Seed)
	reply(w, h.Script())
}

func (h *Handler) clearScript(w http.ResponseWriter, r *http.Request) {
	if err := h.SetScript(Script{}); err != nil {
		h.failControl(w, err)
		return
	}
	h.log.InfoContext(r.Context(), "script of the model providers cleared")
	w.WriteHeader(http.StatusNoContent)
}

// lookup answers what became of a request: its row, or what there is of it so
// far. One that was never seen, or that failed before it cost anything, is 404:
// that answer is as definitive as any.
func (h *Handler) lookup(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	c := &conversation{Handler: h, dialect: openAI{compatible: true}, w: w, r: r, leave: func() {}}
	if !c.question(r.Context(), subject{operation: OperationLookup, identity: sha256.Sum256([]byte(id))}) {
		return
	}
	if row, found := h.running.find(id); found {
		reply(w, row)
		return
	}
	row, found, err := h.invoice.Lookup(id)
	switch {
	case err != nil:
		h.failControl(w, err)
	case !found:
		writeControl(w, http.StatusNotFound, "no such request, or it cost nothing")
	default:
		reply(w, row)
	}
}

// pageOfInvoice answers a page, and with the first the totals.
func (h *Handler) pageOfInvoice(w http.ResponseWriter, r *http.Request) {
	s, err := selectionOf(r)
	if err != nil {
		refuseControl(w, err.Error())
		return
	}
	var p Page
	var more bool
	if p.Rows, more, err = h.invoice.Rows(s); err != nil {
		h.failControl(w, err)
		return
	}
	if more {
		p.Next = p.Rows[len(p.Rows)-1].Sequence
	}
	if s.After == 0 {
		if p.Totals, err = h.invoice.Totals(s); err != nil {
			h.failControl(w, err)
			return
		}
	}
	reply(w, p)
}

func selectionOf(r *http.Request) (s Selection, err error) {
	query := r.URL.Query()
	s.Request, s.Limit = query.Get("request"), defaultPage
	for name, into := range map[string]*time.Time{"since": &s.Since, "until": &s.Until} {
		if text := query.Get(name); text != "" {
			if *into, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return s, errors.New(name + " must be a time in RFC 3339")
			}
		}
	}
	if text := query.Get("after"); text != "" {
		if s.After, err = strconv.ParseUint(text, 10, 64); err != nil {
			return s, errors.New("after must be the next of the page before")
		}
	}
	if text := query.Get("limit"); text != "" {
		if s.Limit, err = strconv.Atoi(text); err != nil || s.Limit < 1 || s.Limit > maxPage {
			return s, errors.New("limit must be between 1 and " + strconv.Itoa(maxPage))
		}
	}
	return s, nil
}

func (h *Handler) failControl(w http.ResponseWriter, err error) {
	if wrong, ok := errors.AsType[refusal](err); ok {
		refuseControl(w, wrong.Error())
		return
	}
	h.log.Error("request failed", "error", err)
	writeControl(w, http.StatusInternalServerError, "the sandbox failed; its log says why")
}

func refuseControl(w http.ResponseWriter, message string) {
	writeControl(w, http.StatusBadRequest, message)
}

func reply(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // whoever is left to read it
}

func writeControl(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"message": message}}) // likewise
}
