package pipedrive

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Tokens are what an app got when somebody connected it.
type Tokens struct {
	Access    core.Secret
	Refresh   core.Secret // stays the same; ends when it is not used for 60 days
	Expires   time.Time   // of Access
	Scope     string
	APIDomain string    // where the company's API is, such as https://acme.pipedrive.com
	Renewed   time.Time // when Pipedrive last gave Access
}

// base is the address of what they are good for.
func (t *Tokens) base() (string, error) {
	if t.APIDomain == "" {
		return "", &Error{Reason: Disconnected}
	}
	return checkBase(t.APIDomain)
}

// TokenKeeper keeps tokens over restarts. Load gives zero Tokens when there are none, and saving zero Tokens
// forgets them.
type TokenKeeper interface {
	Load(ctx context.Context) (Tokens, error)
	Save(ctx context.Context, t Tokens) error
}

// States is where a SealedKeeper writes. State gives nothing for a name that was never set.
type States interface {
	State(ctx context.Context, name string) ([]byte, error)
	SetState(ctx context.Context, name string, value []byte) error
}

// tokensName is the state's name.
const tokensName = "pipedrive.tokens"

// SealedKeeper keeps tokens sealed in the store, where replicas share them.
type SealedKeeper struct {
	states States
	sealer *sealer
}

// NewSealedKeeper seals with a key from the app's client secret.
func NewSealedKeeper(states States, clientSecret core.Secret) (*SealedKeeper, error) {
	s, err := newSealer(clientSecret, tokensName)
	if err != nil {
		return nil, err
	}
	return &SealedKeeper{states, s}, nil
}

// plainTokens are Tokens whose secrets show. They exist between sealing and opening only.
type plainTokens struct {
	Access    string    `json:"access"`
	Refresh   string    `json:"refresh"`
	Expires   time.Time `json:"expires"`
	Scope     string    `json:"scope"`
	APIDomain string    `json:"apiDomain"`
	Renewed   time.Time `json:"renewed"`
}

// Load opens what is kept.
func (k *SealedKeeper) Load(ctx context.Context) (Tokens, error) {
	text, err := k.states.State(ctx, tokensName)
	if err != nil {
		return Tokens{}, fmt.Errorf("read the tokens: %w", err)
	}
	if len(text) == 0 {
		return Tokens{}, nil
	}
	plain, err := k.sealer.open(text)
	if err != nil {
		return Tokens{}, &Error{Reason: Disconnected, Err: err}
	}
	var p plainTokens
	if json.Unmarshal(plain, &p) != nil {
		return Tokens{}, &Error{Reason: Disconnected, Msg: "the tokens are kept in a form that this pipehook does not know"}
	}
	return Tokens{core.Secret(p.Access), core.Secret(p.Refresh), p.Expires, p.Scope, p.APIDomain, p.Renewed}, nil
}

// Save seals and keeps tokens; zero ones are forgotten.
func (k *SealedKeeper) Save(ctx context.Context, t Tokens) error {
	var sealed []byte
	if t != (Tokens{}) {
		plain, err := json.Marshal(plainTokens{string(t.Access), string(t.Refresh), t.Expires, t.Scope, t.APIDomain, t.Renewed})
		if err != nil {
			return err
		}
		sealed = k.sealer.seal(plain)
	}
	if err := k.states.SetState(ctx, tokensName, sealed); err != nil {
		return fmt.Errorf("keep the tokens: %w", err)
	}
	return nil
}
