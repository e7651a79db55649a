package policy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	policyv1 "github.com/holdfast-dev/holdfast/proto/holdfast/policy/v1"
)

// Deprecation says that a method will go, and what every answer tells of that.
type Deprecation struct {
	// Since is from when on it should not be used; it may lie ahead.
	Since time.Time
	// Sunset is from when on it may be gone; zero: that is not decided.
	Sunset time.Time
	// Link is where to read what to use in its place; empty: nowhere.
	Link string

	trailer metadata.MD
}

// The trailers of every answer of a method that will go, and the headers that they
// become over HTTP.
var notices = [...]struct{ trailer, header string }{
	{"deprecation", "Deprecation"}, // RFC 9745
	{"sunset", "Sunset"},           // RFC 8594
	{"link", "Link"},               // RFC 8288, with the relations that the other two define
}

// HeadersFrom sets the HTTP headers from the trailers of a gRPC answer.
func HeadersFrom(trailers metadata.MD, h http.Header) {
	for _, n := range notices {
		if values := trailers.Get(n.trailer); len(values) > 0 {
			h.Set(n.header, values[0])
		}
	}
}

// readDeprecation returns what the option says, or nil if it says nothing. Marked is
// whether the method is also marked for generators.
func readDeprecation(option *policyv1.Deprecation, marked bool) (*Deprecation, error) {
	switch {
	case option == nil && marked:
		return nil, errors.New("it is marked deprecated, but its policy does not say since when")
	case option == nil:
		return nil, nil
	case !marked:
		return nil, errors.New("its policy says that it is deprecated: say option deprecated = true as well, for those who generate clients")
	}
	d := &Deprecation{Link: option.GetLink()}
	var err error
	if d.Since, err = day("since", option.GetSince()); err != nil {
		return nil, err
	}
	if option.GetSunset() != "" {
		if d.Sunset, err = day("sunset", option.GetSunset()); err != nil {
			return nil, err
		}
		if d.Sunset.Before(d.Since) {
			return nil, fmt.Errorf("its sunset, %s, comes before it is deprecated, %s", option.GetSunset(), option.GetSince())
		}
	}
	if d.Link != "" && !linkable(d.Link) {
		return nil, fmt.Errorf("the link of its deprecation is %q, must be an https URL", d.Link)
	}
	d.trailer = d.notice()
	return d, nil
}

// day is the beginning of a day.
func day(field, text string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return t, fmt.Errorf("%s of its deprecation is %q, must be a date such as 2027-01-31", field, text)
	}
	return t, nil
}

// linkable reports whether a text can stand in a Link header as it is.
func linkable(link string) bool {
	u, err := url.Parse(link)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.String() == link && !strings.ContainsAny(link, `<>" `)
}

func (d *Deprecation) notice() metadata.MD {
	md := metadata.Pairs(notices[0].trailer, "@"+strconv.FormatInt(d.Since.Unix(), 10))
	relations := []string{"deprecation"}
	if !d.Sunset.IsZero() {
		md.Set(notices[1].trailer, d.Sunset.Format(http.TimeFormat))
		relations = append(relations, "sunset")
	}
	if d.Link != "" {
		md.Set(notices[2].trailer, fmt.Sprintf(`<%s>; rel="%s"; type="text/html"`, d.Link, strings.Join(relations, " ")))
	}
	return md
}

// marked reports whether the proto says deprecated to generators.
func marked(m protoreflect.MethodDescriptor) bool {
	options, ok := m.Options().(*descriptorpb.MethodOptions)
	return ok && options.GetDeprecated()
}
