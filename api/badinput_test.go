package api_test

import (
	"testing"

	"github.com/slipwayhq/slipway/models"
)

func TestBadInput_aNULIsTheCallersMistakeNotTheDatabases(t *testing.T) {
	g := newGateway(t)
	a := g.do("GET", "/projects/"+g.project.ID+"/logs/stream?follow=false&release=%00", nil)
	a.failed(models.CodeValidation)
}
