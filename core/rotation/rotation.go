// Package rotation keeps which credentials of HTTP Basic are good while a pipeline's is changed: those of a
// rotation count beside the configured ones, and the one that was changed stops being good once the new one
// is in use. Only salted hashes are kept; nobody can read a password back. It does not know who sends with
// the credentials, nor where they are configured.
package rotation

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Grace is how long the old credential stays good after the last sender was given the new one and has used
// it: Pipedrive tries again 3, 30 and 150 seconds after a failure, each within 10 seconds, so at most 213
// seconds later.
const Grace = 4 * time.Minute

// States keeps small values that outlive the process and that replicas share.
type States interface {
	Reader
	SetState(ctx context.Context, name string, value []byte) error
}

// Reader is the half of States that only looks.
type Reader interface {
	State(ctx context.Context, name string) ([]byte, error)
}

// Digest is a credential that can be recognised and not read. The hash is a fast one, as it is made for every
// request: a password must be long and random.
type Digest struct {
	Salt []byte `json:"salt"`
	Hash []byte `json:"hash"`
	Gone bool   `json:"gone,omitempty"` // it was no longer good when a later rotation began
}

// NewDigest makes the digest of a credential under a salt of its own.
func NewDigest(username, password string) Digest {
	d := Digest{Salt: make([]byte, 16)}
	rand.Read(d.Salt)
	d.Hash = d.of(username, password)
	return d
}

func (d *Digest) of(username, password string) []byte {
	name := sha256.Sum256([]byte(username)) // of a fixed length, so that the two can't be divided otherwise
	mac := hmac.New(sha256.New, d.Salt)
	mac.Write(name[:])
	mac.Write([]byte(password))
	return mac.Sum(nil)
}

// Is reports whether it is the digest of the credential, in a time that does not depend on it.
func (d *Digest) Is(username, password string) bool {
	return subtle.ConstantTimeCompare(d.of(username, password), d.Hash) == 1
}

// Rotation is a change of a credential, as it is kept.
type Rotation struct {
	ID         string          `json:"id"`
	StartedAt  time.Time       `json:"startedAt"`
	Username   string          `json:"username"`
	New        Digest          `json:"new"`
	Old        []Digest        `json:"old"`
	Made       []int64         `json:"made"`               // what has the new one
	Waiting    []int64         `json:"waiting"`            // what has an old one still
	Replaced   map[int64]int64 `json:"replaced,omitempty"` // what was made in the place of what
	Making     int64           `json:"making,omitempty"`   // in the place of what one is made, which may be there and not be noted
	ReplacedAt time.Time       `json:"replacedAt,omitzero"`
}

// Use is when a credential of a rotation was used.
type Use struct {
	ID string    `json:"id"` // of the rotation
	At time.Time `json:"at"`
}

// Status is a rotation with what servers say of it. Each of them is written by servers only, and the rotation
// by the command only, so that nobody overwrites what another has written.
type Status struct {
	Rotation
	Known    time.Time // when a server first knew it; zero when none does
	NewUsed  time.Time // when the new credential was first used
	OldUsed  time.Time // when an old one was last used
	recorded bool
}

// names of the states of a pipeline.
func stateName(pipeline, part string) string { return "rotation/" + part + "/" + pipeline }

const (
	partRotation = "current"
	partKnown    = "known"
	partNew      = "new"
	partOld      = "old"
)

// Load reads what is kept of a pipeline, nil when nothing was ever changed.
func Load(ctx context.Context, s Reader, pipeline string) (*Status, error) {
	var st Status
	found, err := read(ctx, s, stateName(pipeline, partRotation), &st.Rotation)
	if err != nil || !found {
		return nil, err
	}
	for part, into := range map[string]*time.Time{partKnown: &st.Known, partNew: &st.NewUsed, partOld: &st.OldUsed} {
		var u Use
		if _, err := read(ctx, s, stateName(pipeline, part), &u); err != nil {
			return nil, err
		}
		if u.ID == st.ID {
			*into = u.At
		}
	}
	return &st, nil
}

func read(ctx context.Context, s Reader, name string, into any) (found bool, err error) {
	text, err := s.State(ctx, name)
	if err != nil || text == nil {
		return false, err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	return true, nil
}

func write(ctx context.Context, s States, name string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return s.SetState(ctx, name, text)
}

// Save keeps the rotation.
func (r *Rotation) Save(ctx context.Context, s States, pipeline string) error {
	return write(ctx, s, stateName(pipeline, partRotation), r)
}

// TakeBack puts what was kept before, nil for nothing, in the place of the rotation. One that somebody else has
// begun since stays.
func (r *Rotation) TakeBack(ctx context.Context, s States, pipeline string, before *Status) error {
	st, err := Load(ctx, s, pipeline)
	if err != nil || st == nil || st.ID != r.ID {
		return err
	}
	if before == nil {
		return s.SetState(ctx, stateName(pipeline, partRotation), nil)
	}
	return before.Save(ctx, s, pipeline)
}

// RetiredAt is when the old credentials stop being good, and whether that is known yet.
func (st *Status) RetiredAt() (time.Time, bool) {
	if st.ReplacedAt.IsZero() || st.NewUsed.IsZero() {
		return time.Time{}, false
	}
	at := st.ReplacedAt
	if st.NewUsed.After(at) {
		at = st.NewUsed
	}
	return at.Add(Grace), true
}

// Begin makes a rotation to a new credential; configured are the passwords that the configuration has. What an
// earlier rotation says of them goes on to hold.
func (st *Status) Begin(username string, password core.Secret, configured []Credential, now time.Time) Rotation {
	r := Rotation{ID: rand.Text(), StartedAt: now, Username: username, New: NewDigest(username, string(password))}
	var known []Digest
	if st != nil {
		retired, sure := st.RetiredAt()
		for _, d := range st.Old {
			d.Gone = d.Gone || sure && now.After(retired)
			known = append(known, d)
		}
		known = append(known, st.New)
	}
	for _, d := range known {
		if !d.Gone || isOne(d, configured) { // what is gone and configured nowhere needs no refusal
			r.Old = append(r.Old, d)
		}
	}
	for _, c := range configured {
		if !isKnown(known, c) {
			r.Old = append(r.Old, NewDigest(c.Username, string(c.Password)))
		}
	}
	return r
}

// Credential is a username with its password.
type Credential struct {
	Username string
	Password core.Secret
}

func isOne(d Digest, all []Credential) bool {
	for _, c := range all {
		if d.Is(c.Username, string(c.Password)) {
			return true
		}
	}
	return false
}

// Strange reports whether the configured credentials, of which the first is the one in use, are none that the finished
// rotation knows: what it made is good beside them, for as long as there is no other rotation.
func (st *Status) Strange(configured []Credential) bool {
	return st != nil && !st.ReplacedAt.IsZero() && len(configured) > 0 && !isOne(st.New, configured) && !isKnown(st.Old, configured[0])
}

// Replaces reports whether the rotation has put another credential in the place of this one.
func (st *Status) Replaces(c Credential) bool {
	return st != nil && !st.New.Is(c.Username, string(c.Password)) && isKnown(st.Old, c)
}

func isKnown(all []Digest, c Credential) bool {
	for _, d := range all {
		if d.Is(c.Username, string(c.Password)) {
			return true
		}
	}
	return false
}
