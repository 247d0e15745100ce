package pipedrive

import (
	"context"
	"net/http"

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

// located is an Authorizer that knows where the API is.
type located interface {
	address(ctx context.Context) (string, error)
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
