package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

func TestJSONIsCompactWhateverProtojsonDoes(t *testing.T) {
	message := &ordersv1.ListOrdersResponse{Orders: []*ordersv1.Order{{Id: "a", ShippingNote: "a  b"}}, NextPageToken: "n"}
	text, err := newStrictJSON().Marshal(message)
	require.NoError(t, err)
	require.Equal(t, `{"orders":[{"id":"a","shippingNote":"a  b"}],"nextPageToken":"n"}`, string(text))
}

func TestAnEmptyBodyIsAnEmptyMessage(t *testing.T) {
	var request ordersv1.CancelOrderRequest
	require.ErrorIs(t, newStrictJSON().NewDecoder(strings.NewReader(" \n")).Decode(&request), io.EOF, "which the gateway takes as such")
}

func TestAFaultSurvivesTheGeneratedGateway(t *testing.T) {
	sent := unknownField(`a"b`, "x")
	got := faultOf(errors.New(sent.Error()))
	require.Equal(t, sent, got)
	require.Equal(t, apierror.ReasonUnknownField, got.typed().Reason())
	require.Nil(t, faultOf(errors.New("type mismatch: "+sent.Error())), "only at the beginning")
}

// FuzzStrictJSON: whatever comes in, the answer is a fault that can be told to
// a client or a message that protojson would have read the same.
func FuzzStrictJSON(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"lines":[{"productId":"a","quantity":1}]}`, `{"lines":[{"productId":"a","productId":"b"}]}`,
		`{"payment_method":"x","paymentMethod":"y"}`, `{"x":1}`, `[`, `{"lines":NaN}`, "{\"contactEmail\":\"\xff\"}",
		`{"shippingNote":"\ud800"}`, `null`, `{"lines":null}`, `1e999`, `{"lines":[{"quantity":1e400}]}`, ``, `{}{}`,
	} {
		f.Add([]byte(seed))
	}
	strict := newStrictJSON()
	f.Fuzz(func(t *testing.T, text []byte) {
		var got, want ordersv1.CreateOrderRequest
		err := strict.NewDecoder(bytes.NewReader(text)).Decode(&got)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			fault := faultOf(err)
			require.NotNil(t, fault, "untyped: %v", err)
			require.Less(t, fault.typed().HTTPStatus(), 500)
			return
		}
		require.NoError(t, protojson.Unmarshal(text, &want), "accepted what protojson does not")
		require.True(t, proto.Equal(&got, &want))
		require.True(t, json.Valid(text))
		again, err := strict.Marshal(&got)
		require.NoError(t, err)
		require.NoError(t, strict.Unmarshal(again, &want), "our own output")
	})
}
