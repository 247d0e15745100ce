package simulate

import (
	"math/rand"
	"testing"
	"time"
)

func TestABigAccountIsMadeQuickly(t *testing.T) {
	c := New(Options{Token: "token"}).CRM()
	start := time.Now()
	if err := c.Fill(rand.New(rand.NewSource(1)), 100_000); err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(start))
	start = time.Now()
	tally, err := c.Act(rand.New(rand.NewSource(2)), 10_000, Mix{})
	t.Log(time.Since(start), tally, err)
}
