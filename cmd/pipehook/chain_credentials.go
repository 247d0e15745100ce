package main

import (
	"cmp"
	"context"
	"time"

	"github.com/pipehook/pipehook/core/rotation"
	"github.com/pipehook/pipehook/core/store"
	"github.com/pipehook/pipehook/stages/authenticate"
)

// rotated are the pipelines whose credentials may be changed.
func (a *app) rotated() (all []rotation.Pipeline) {
	for _, p := range a.conf.Load().Pipelines {
		one := rotation.Pipeline{Name: p.Name}
		if basic, _, err := basicOf(p); err == nil && basic != nil {
			one.Configured = credentialsOf(basic)
		}
		all = append(all, one)
	}
	return all
}

// judgeCredential asks what rotations say of a credential.
func (a *app) judgeCredential(pipeline, username, password string, configured, attempt bool) authenticate.Judgement {
	judge := a.rotation.Judge
	if attempt {
		judge = a.rotation.Try
	}
	switch judge(context.Background(), pipeline, username, password, configured) {
	case rotation.Good:
		return authenticate.Good
	case rotation.Retired:
		return authenticate.Retired
	default:
		return authenticate.AsConfigured
	}
}

// stillGood refuses the configured password when a rotation has replaced it: what would be made with it would
// soon be refused. When the store can't be asked nobody knows of a rotation.
func (r *registrar) stillGood(ctx context.Context) error {
	st := r.lastRotation(ctx)
	if !st.Replaces(rotation.Credential{Username: r.basic.Username, Password: r.basic.Password}) {
		return nil
	}
	return usagef("set "+r.passwordPlace()+" to the new one; pipehook webhooks rotate --status", "the configured password was changed by webhooks rotate on %s and is about to be refused", st.StartedAt.Local().Format(time.DateTime))
}

// lastRotation is what the store has of the pipeline, nil also when it can't be asked.
func (r *registrar) lastRotation(ctx context.Context) *rotation.Status {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	reader, err := store.OpenReader(ctx, storeURL(r.conf))
	if err != nil {
		return nil
	}
	defer func() { _ = reader.Close() }()
	st, err := rotation.Load(ctx, reader, r.pipeline.Name)
	if err != nil {
		return nil
	}
	return st
}

// passwordPlace is what has to be set for another password.
func (r *registrar) passwordPlace() string {
	if v, ok := r.conf.Variable(r.basicKey + ".password"); ok {
		return v.Name
	}
	return r.basicKey + ".password in " + r.conf.Path
}

// configured are the credentials that the configuration has.
func (r *registrar) configured() []rotation.Credential { return credentialsOf(r.basic) }

// credentialsOf has the one in use first.
func credentialsOf(b *authenticate.Basic) []rotation.Credential {
	all := []rotation.Credential{{Username: b.Username, Password: b.Password}}
	if b.PreviousPassword != "" {
		all = append(all, rotation.Credential{Username: cmp.Or(b.PreviousUsername, b.Username), Password: b.PreviousPassword})
	}
	return all
}
