package scamp_test

import "testing"

// TestConformanceTickets is what PROTOCOL 17 says of tickets.
func TestConformanceTickets(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"79_tickets_of_the_vectors", ticketVectors},
		{"79_reference_token_between_its_dates", ticketReference},
		{"80_authn_authz_and_noauth", checkAccess},
	} {
		t.Run(tt.name, tt.run)
	}
}
