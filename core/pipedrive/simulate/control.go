package simulate

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// serveControl is the switchboard, for this machine only.
func (s *Server) serveControl(w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	if ip := net.ParseIP(host); ip != nil && !ip.IsLoopback() {
		s.send(w, failed(http.StatusForbidden, "only from this machine", ""))
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /simulate/state":
		s.send(w, ok(s.state()))
	case "POST /simulate/faults":
		s.send(w, s.setFaults(r))
	case "DELETE /simulate/faults":
		s.faults.Clear()
		s.send(w, ok(s.state()))
	case "POST /simulate/edits":
		s.send(w, s.edits(r))
	default:
		s.send(w, failed(http.StatusNotFound, "there is GET /simulate/state, POST and DELETE /simulate/faults, POST /simulate/edits", ""))
	}
}

// state is how things stand.
func (s *Server) state() map[string]any {
	records := map[string]int{}
	for _, o := range shape.Objects() {
		records[o.Name] = s.crm.Count(o.Name)
	}
	return map[string]any{
		"company": s.o.Company, "records": records, "budget": s.limits.budget(), "webhooks": s.hooks.Stats(),
		"faults": map[string]any{"api": s.faults.list(), "webhooks": s.faults.Hooks()},
	}
}

// setFaults adds faults of the API, and sets those of webhooks.
func (s *Server) setFaults(r *http.Request) *reply {
	var body struct {
		API      []Fault     `json:"api"`
		Webhooks *HookFaults `json:"webhooks"`
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&body); err != nil {
		return failed(http.StatusBadRequest, err.Error(), `such as {"api": [{"kind": "503", "next": 5}], "webhooks": {"drop": 0.1}}`)
	}
	if body.Webhooks != nil && body.Webhooks.Hold < 0 {
		return failed(http.StatusBadRequest, "hold must be 0 or more", "")
	}
	for _, fault := range body.API {
		if err := s.faults.Add(fault); err != nil {
			return failed(http.StatusBadRequest, err.Error(), "")
		}
	}
	if body.Webhooks != nil {
		s.faults.SetHooks(*body.Webhooks)
	}
	return ok(s.state())
}

// edits has people work on the records: n steps, per of them in a second.
func (s *Server) edits(r *http.Request) *reply {
	n, err := strconv.Atoi(r.FormValue("n"))
	per, wrong := 0.0, error(nil)
	if text := r.FormValue("per_second"); text != "" {
		per, wrong = strconv.ParseFloat(text, 64)
	}
	if err != nil || n < 1 || wrong != nil || per < 0 {
		return failed(http.StatusBadRequest, "n must be a number above 0, per_second one from 0 on", "")
	}
	seed, _ := strconv.ParseInt(r.FormValue("seed"), 10, 64)
	done, err := s.actSlowly(r.Context(), n, per, seed)
	if err != nil {
		return failed(http.StatusInternalServerError, err.Error(), "")
	}
	return ok(done)
}
