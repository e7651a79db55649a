package payments

import (
	"time"

	"github.com/google/uuid"
)

// Entry is one line of the double-entry ledger: an amount that left one account
// and reached another. Because one row holds both sides and a positive amount,
// the books balance by construction; there is no second row to be missing and
// no constraint that could fail at commit. Rows are never changed or removed.
//
// Two accounts move. "processor:<currency>" is what the processor owes the
// platform (an asset: debits add). "tenant:<tenant>:<currency>" is what the platform
// owes a tenant (a liability: credits add). A capture debits the first and
// credits the second; a refund is the reverse. A balance is the sum of the
// entries.
type Entry struct {
	Payment uuid.UUID
	// ProcessorKey is the key that the processor got. With the payment it is
	// the primary key: a second entry for one operation is refused for ever, and
	// each entry can be compared with the processor's own books.
	ProcessorKey string
	Kind         Kind
	Tenant       string
	Debit        string
	Credit       string
	// Amount is in minor units, always positive.
	Amount     int64
	Currency   string
	CreateTime time.Time
}

func captureEntry(p *Payment, amount int64, now time.Time) *Entry {
	e := entry(p, Capture, amount, now)
	e.Debit, e.Credit = processorAccount(p), tenantAccount(p)
	return e
}

func refundEntry(p *Payment, amount int64, now time.Time) *Entry {
	e := entry(p, Refund, amount, now)
	e.Debit, e.Credit = tenantAccount(p), processorAccount(p)
	return e
}

func entry(p *Payment, kind Kind, amount int64, now time.Time) *Entry {
	return &Entry{
		Payment: p.ID, Kind: kind, Tenant: p.Tenant,
		Amount: amount, Currency: p.Amount.Currency, CreateTime: now,
	}
}

func processorAccount(p *Payment) string { return "processor:" + p.Amount.Currency }

func tenantAccount(p *Payment) string { return "tenant:" + p.Tenant + ":" + p.Amount.Currency }
