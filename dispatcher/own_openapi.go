package dispatcher

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// object is a JSON object of the OpenAPI document.
type object = map[string]any

// openAPI describes the dispatcher's own hosts (OpenAPI 3.1). It is written by
// hand, because most of what it describes are requests that others answer.
func (d *Dispatcher) openAPI() []byte {
	paths := object{
		"/health": object{"get": operation("health", serviceTag, "Is this process well?",
			"Asks nothing else: a dispatcher goes on serving what it knows while its database is away.",
			object{"200": answer("It answers.", "Health", d.exampleHealth(nil))})},
		"/health/detailed": object{"get": operation("detailed-health", serviceTag, "Are this process and what it needs well?", "",
			object{
				"200": answer("Everything answers.", "Health", d.exampleHealth(d.exampleChecks("available", "active"))),
				"503": answer("Something does not answer; the checks say what.", "Health", d.exampleHealth(d.exampleChecks("unavailable", "inactive"))),
			})},
		"/openapi.json": object{"get": operation("openapi", serviceTag, "This document", "", object{"200": object{
			"description": "OpenAPI 3.1, in JSON.", "content": object{"application/json": object{"schema": object{"type": "object"}}},
		}})},
		"/docs": object{"get": operation("docs", serviceTag, "A page to read this document with", "", object{"200": object{
			"description": "HTML.", "content": object{"text/html": object{"schema": textSchema}},
		}})},
	}
	for _, base := range []string{"/dispatch", "/api/dispatch"} {
		paths[base+"/{worker}/{path}"] = d.dispatchItem(base, "Path", object{
			"name": "path", "in": "path", "required": true, "schema": object{"type": "string"},
			"description": "The path that the worker sees, slashes included, kept byte for byte.", "example": "api/users",
		})
		item := d.dispatchItem(base, "Query", nil)
		get := item["get"].(object)
		get["summary"] = "The namespace, or a request sent to the worker named in the query"
		get["responses"].(object)["200"] = answer("Without a worker: what this dispatcher serves. With one: the worker's answer.", "Namespace", object{
			"service": serviceName, "namespace": d.opts.Namespace, "status": "available", "timestamp": exampleTime, "requestId": exampleID,
		})
		paths[base] = item
	}
	document, err := json.Marshal(object{
		"openapi": "3.1.0",
		"info": object{
			"title": serviceName, "version": d.opts.Version,
			"contact": object{"name": "Slipway", "url": "https://github.com/slipwayhq/slipway"},
			"license": object{"name": "Apache 2.0", "identifier": "Apache-2.0"},
			"description": "Answers for deployed sites and workers at <worker>" + d.hosts.suffix + " and at custom domains, whole hosts of which belong to their owners. " +
				"On its own hosts, described here, it tells how it is and forwards requests by path or by query. " +
				"What comes from a worker that way has no cookies and the policy `sandbox`, so that it cannot act for this host.",
		},
		"servers": []object{{"url": "/", "description": "This dispatcher"}},
		// Nothing here asks who calls; workers do that themselves.
		"security": []object{{}},
		"tags": []object{
			{"name": dispatchTag, "description": "Sending requests to workers by path or by query instead of by host."},
			{"name": serviceTag, "description": "What this service is and whether it works."},
		},
		"paths": paths,
		"components": object{"headers": object{"X-Request-Id": object{
			"description": "Names the request in the dispatcher's log.", "schema": textSchema, "example": exampleID,
		}}, "schemas": object{
			"Health": schema(object{
				"status": object{"type": "string", "enum": []string{"healthy", "unhealthy"}}, "timestamp": timeSchema, "service": textSchema,
				"version": textSchema, "environment": textSchema,
				"checks": object{"type": "object", "description": "Only in the detailed answer.", "additionalProperties": object{"type": "object"}},
			}, "status", "timestamp", "service", "version", "environment"),
			"Namespace": schema(object{
				"service": textSchema, "namespace": textSchema, "status": textSchema, "timestamp": timeSchema, "requestId": textSchema,
			}, "service", "namespace", "status", "timestamp", "requestId"),
			"Error": schema(object{
				"error": textSchema, "message": textSchema, "worker": textSchema, "requestId": textSchema, "timestamp": timeSchema,
			}, "error", "requestId", "timestamp"),
		}},
	})
	if err != nil {
		panic(fmt.Errorf("encode the OpenAPI document: %w", err))
	}
	return document
}

const (
	exampleTime = "2026-01-01T12:00:00.000Z"
	exampleID   = "9f0c1a52-6f5b-4a39-8d0e-3c1d7c1b2a44"
)

// The groups of operations.
const (
	serviceTag  = "Service"
	dispatchTag = "Dispatch"
)

var (
	textSchema = object{"type": "string"}
	timeSchema = object{"type": "string", "format": "date-time"}
)

// dispatchItem is a path with every method, forwarded by path or by query.
func (d *Dispatcher) dispatchItem(base, way string, path object) object {
	worker := object{
		"name": "worker", "in": "query", "required": false, "schema": object{"type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$"},
		"description": "The worker's name: letters, digits and hyphens, 1 to 63, none reserved. It is taken out of the query; all other parameters pass.", "example": "my-app",
	}
	parameters := []object{worker}
	if path != nil {
		worker = maps.Clone(worker)
		worker["in"], worker["required"], worker["description"] = "path", true, "The worker's name: letters, digits and hyphens, 1 to 63, none reserved."
		parameters = []object{worker, path}
	}
	alias := ""
	if strings.HasPrefix(base, "/api") {
		alias = "-api"
	}
	item := object{"parameters": parameters}
	for _, method := range []string{"get", "head", "post", "put", "patch", "delete", "options"} {
		op := operation(method+alias+"-dispatch-by-"+strings.ToLower(way), dispatchTag, "Send a request to a worker, which is named in the "+strings.ToLower(way),
			"Method, headers, query and body go to the worker and its answer comes back, streamed both ways; Cookie, Set-Cookie and WWW-Authenticate do not cross.",
			object{
				"default": object{"description": "Whatever the worker answers."},
				"400":     answer("The name cannot be a worker's.", "Error", exampleError(invalidWorkerName, "Subdomain cannot start or end with a hyphen", "")),
				"404":     answer("Nothing is deployed under this name.", "Error", exampleError(workerNotFound, "Nothing is deployed at this address.", "my-app")),
				"500":     answer("The dispatcher failed.", "Error", exampleError(internalError, "The log of the dispatcher says what happened under this request id.", "my-app")),
				"503":     answer("Where the worker is cannot be known now, or it cannot be reached.", "Error", exampleError(databaseFailed, "Try again in a moment.", "my-app")),
			})
		if method == "post" || method == "put" || method == "patch" {
			op["requestBody"] = object{"description": "Goes to the worker as it is.", "content": object{"*/*": object{}}}
		}
		item[method] = op
	}
	return item
}

func (d *Dispatcher) exampleHealth(checks object) object {
	status := "healthy"
	if checks != nil && checks["hyperdrive"].(object)["status"] != "available" {
		status = "unhealthy"
	}
	example := object{"status": status, "timestamp": exampleTime, "service": serviceName, "version": d.opts.Version, "environment": d.opts.Environment}
	if checks != nil {
		example["checks"] = checks
	}
	return example
}

func (d *Dispatcher) exampleChecks(status, pool string) object {
	return object{
		"hyperdrive": object{"status": status, "connection_pool": pool},
		"dispatcher": object{"status": "available", "namespace": d.opts.Namespace},
		"storage":    object{"status": "available"},
		"edge": object{
			"status": "available", "workers": 12, "max_workers": 500, "memory_bytes": 251658240, "memory_limit_bytes": 4294967296,
			"starts": 340, "crashes": 2, "exceeded_cpu": 1, "exceeded_memory": 0,
		},
	}
}

func exampleError(text, message, worker string) object {
	example := object{"error": text, "message": message, "requestId": exampleID, "timestamp": exampleTime}
	if worker != "" {
		example["worker"] = worker
	}
	return example
}

func operation(id, tag, summary, description string, responses object) object {
	for _, response := range responses {
		response.(object)["headers"] = object{"X-Request-Id": object{"$ref": "#/components/headers/X-Request-Id"}}
	}
	op := object{"operationId": id, "tags": []string{tag}, "summary": summary, "responses": responses}
	if description != "" {
		op["description"] = description
	}
	return op
}

func answer(description, schema string, example object) object {
	return object{"description": description, "content": object{"application/json": object{
		"schema": object{"$ref": "#/components/schemas/" + schema}, "example": example,
	}}}
}

func schema(properties object, required ...string) object {
	return object{"type": "object", "properties": properties, "required": required}
}
