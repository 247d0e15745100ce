package pipedrive

import (
	"context"
	"net/http"
	"sync/atomic"

	"github.com/pipehook/pipehook/core"
)

// Authorizer puts credentials on a request. It is called for every try.
type Authorizer interface {
	Authorize(ctx context.Context, r *http.Request) error
}

// renewer is an Authorizer that can get other credentials when those of a request were refused; false when
// it has none.
type renewer interface {
	renew(ctx context.Context, refused *http.Request) (bool, error)
}

// located is an Authorizer whose tokens know where the API is. A request takes both from one look: at the next one they may be
// another company's.
type located interface {
	Tokens(ctx context.Context) (Tokens, error) // as they are kept
	good(ctx context.Context) (Tokens, error)   // renewed when they are about to end
}

// steady is an app's Authorizer for one run.
type steady struct {
	*OAuthAuthorizer
	at atomic.Pointer[string] // where the company of the first request is
}

func (s *steady) good(ctx context.Context) (Tokens, error) {
	t, err := s.OAuthAuthorizer.good(ctx)
	if err == nil && !s.at.CompareAndSwap(nil, &t.APIDomain) && *s.at.Load() != t.APIDomain {
		return Tokens{}, &Error{Reason: Switched}
	}
	return t, err
}

// bearer is an access token.
type bearer core.Secret

func (b bearer) Authorize(_ context.Context, r *http.Request) error {
	r.Header.Set("Authorization", "Bearer "+string(b))
	return nil
}

// tokenHeader carries an API token. The API takes it in the query too, where every log has it.
const tokenHeader = "X-Api-Token"

type apiToken core.Secret

// Token authorizes with a user's API token.
func Token(token core.Secret) Authorizer { return apiToken(token) }

func (t apiToken) Authorize(_ context.Context, r *http.Request) error {
	r.Header.Set(tokenHeader, string(t))
	return nil
}

func (t apiToken) String() string   { return core.Secret(t).String() }
func (t apiToken) GoString() string { return core.Secret(t).String() }
