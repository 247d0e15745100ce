package main

import (
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/stages/authenticate"
)

// openDoors warns of chains that let everybody in because the file says so. A process that serves is told by the
// stage itself.
func openDoors(conf *config.Config) (all []string) {
	for _, p := range conf.Pipelines {
		for _, a := range doorsOf(p) {
			if a.None {
				all = append(all, "pipeline "+p.Name+": authenticate has none = true: anyone who finds the address can send events")
			}
		}
	}
	return all
}

// signedByNobody warns of signatures that are asked of Pipedrive, which signs no webhook.
func signedByNobody(conf *config.Config) (all []string) {
	for _, p := range conf.Pipelines {
		for _, a := range doorsOf(p) {
			if a.Signature != nil && p.Source == "pipedrive" {
				all = append(all, "pipeline "+p.Name+": authenticate asks for a signature, and Pipedrive signs nothing: each webhook that comes "+
					"straight from it is refused, and after ten Pipedrive sends none for 30 minutes; use basic, or keep it for a relay of your own that signs")
			}
		}
	}
	return all
}

// doorsOf are the authenticate stages of a chain that can be read.
func doorsOf(p config.Pipeline) (all []authenticate.Config) {
	for _, s := range p.Stages {
		var conf authenticate.Config
		if s.Use == "authenticate" && s.Decode(&conf) == nil {
			all = append(all, conf)
		}
	}
	return all
}
