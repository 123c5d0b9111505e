package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/common"
	"go.temporal.io/server/common/headers"
)

const (
	// readyTimeout bounds the whole proof; a healthy server needs about a second.
	readyTimeout = 2 * time.Minute
	// callTimeout bounds one call of it. A call that met a connection which is
	// still being made is better repeated than waited for.
	callTimeout = 3 * time.Second
	// pollTimeout is what the server expects of a long poll at least.
	pollTimeout = 21 * time.Second
	retryPause  = 50 * time.Millisecond
)

// probe proves that a started server can run workflows.
type probe struct {
	namespace string
	queue     string
	workflows workflowservice.WorkflowServiceClient
	operator  operatorservice.OperatorServiceClient
	opts      *options
}

// proveReady returns when, in every namespace, all search attributes are
// registered and a workflow on each history shard has been started, handed to a
// poller and completed, and is found by its search attributes. A frontend that merely answers
// proves none of that: its connections to the other services may still be cold.
func proveReady(ctx context.Context, opts *options) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	conn, err := grpc.NewClient(opts.address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to the server's own frontend: %w", err)
	}
	defer func() { _ = conn.Close() }()
	for _, namespace := range opts.namespaces {
		p := &probe{
			namespace: namespace,
			queue:     "slipway-readiness-" + uuid.NewString(),
			workflows: workflowservice.NewWorkflowServiceClient(conn),
			operator:  operatorservice.NewOperatorServiceClient(conn),
			opts:      opts,
		}
		for _, step := range []struct {
			what string
			run  func(context.Context) error
		}{
			{"register search attributes", p.registerSearchAttributes},
			{"run a workflow on every shard", p.runWorkflows},
		} {
			if err := step.run(ctx); err != nil {
				return fmt.Errorf("the server is up but not usable: %s in namespace %s: %w", step.what, namespace, err)
			}
		}
	}
	return nil
}

// registerSearchAttributes adds what a namespace from an earlier start lacks.
func (p *probe) registerSearchAttributes(ctx context.Context) error {
	return again(ctx, func(ctx context.Context) error {
		known, err := p.operator.ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: p.namespace})
		if err != nil {
			return err
		}
		missing := map[string]enumspb.IndexedValueType{}
		for name, kind := range p.opts.searchAttributes {
			if _, ok := known.CustomAttributes[name]; !ok {
				missing[name] = kind
			}
		}
		if len(missing) == 0 {
			return nil
		}
		_, err = p.operator.AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
			Namespace: p.namespace, SearchAttributes: missing,
		})
		return err
	})
}

// runWorkflows completes one workflow per shard, then waits until all are found.
func (p *probe) runWorkflows(ctx context.Context) error {
	shards, namespaceID, err := p.describe(ctx)
	if err != nil {
		return err
	}
	ids := idPerShard(p.queue, namespaceID, shards)
	failures := make(chan error, 2*len(ids))
	var group sync.WaitGroup
	for _, id := range ids {
		group.Go(func() { failures <- p.start(ctx, id) })
		group.Go(func() { failures <- p.completeOne(ctx) })
	}
	group.Wait()
	close(failures)
	for err := range failures {
		if err != nil {
			return err
		}
	}
	if err := p.awaitVisible(ctx, len(ids)); err != nil {
		return err
	}
	for _, id := range ids {
		// Only so that a list of workflows starts empty; what stays expires by itself.
		_, _ = p.workflows.DeleteWorkflowExecution(ctx, &workflowservice.DeleteWorkflowExecutionRequest{
			Namespace: p.namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: id},
		})
	}
	return nil
}

func (p *probe) describe(ctx context.Context) (shards int32, namespaceID string, err error) {
	err = again(ctx, func(ctx context.Context) error {
		cluster, err := p.workflows.GetClusterInfo(ctx, &workflowservice.GetClusterInfoRequest{})
		if err != nil {
			return err
		}
		namespace, err := p.workflows.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: p.namespace})
		if err != nil {
			return err
		}
		shards, namespaceID = cluster.HistoryShardCount, namespace.NamespaceInfo.Id
		return nil
	})
	return shards, namespaceID, err
}

// idPerShard finds workflow ids that between them live on every shard.
func idPerShard(prefix, namespaceID string, shards int32) []string {
	ids := map[int32]string{}
	for i := 0; len(ids) < int(shards); i++ {
		id := prefix + "-" + strconv.Itoa(i)
		shard := common.WorkflowIDToHistoryShard(namespaceID, id, shards)
		if _, ok := ids[shard]; !ok {
			ids[shard] = id
		}
	}
	list := make([]string, 0, len(ids))
	for _, id := range ids {
		list = append(list, id)
	}
	return list
}

func (p *probe) start(ctx context.Context, id string) error {
	request := &workflowservice.StartWorkflowExecutionRequest{
		Namespace:             p.namespace,
		WorkflowId:            id,
		RequestId:             id,
		WorkflowType:          &commonpb.WorkflowType{Name: "slipway-readiness"},
		TaskQueue:             p.taskQueue(),
		WorkflowRunTimeout:    durationpb.New(readyTimeout),
		WorkflowTaskTimeout:   durationpb.New(callTimeout),
		WorkflowIdReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		SearchAttributes:      &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{}},
	}
	for name, kind := range p.opts.searchAttributes {
		request.SearchAttributes.IndexedFields[name] = sample(kind)
	}
	return again(ctx, func(ctx context.Context) error {
		_, err := p.workflows.StartWorkflowExecution(ctx, request)
		return err
	})
}

func (p *probe) taskQueue() *taskqueuepb.TaskQueue {
	return &taskqueuepb.TaskQueue{Name: p.queue, Kind: enumspb.TASK_QUEUE_KIND_NORMAL}
}

// completeOne takes one workflow task, whichever it is, and ends its workflow.
func (p *probe) completeOne(ctx context.Context) error {
	return againWithin(ctx, pollTimeout, func(ctx context.Context) error {
		task, err := p.workflows.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{
			Namespace: p.namespace, TaskQueue: p.taskQueue(), Identity: p.queue,
		})
		if err != nil {
			return err
		}
		if len(task.TaskToken) == 0 {
			return fmt.Errorf("no task came within %s", pollTimeout)
		}
		_, err = p.workflows.RespondWorkflowTaskCompleted(ctx, &workflowservice.RespondWorkflowTaskCompletedRequest{
			Namespace: p.namespace,
			TaskToken: task.TaskToken,
			Identity:  p.queue,
			Commands: []*commandpb.Command{{
				CommandType: enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
				Attributes: &commandpb.Command_CompleteWorkflowExecutionCommandAttributes{
					CompleteWorkflowExecutionCommandAttributes: &commandpb.CompleteWorkflowExecutionCommandAttributes{},
				},
			}},
		})
		return err
	})
}

func (p *probe) awaitVisible(ctx context.Context, want int) error {
	query := fmt.Sprintf("TaskQueue = %q AND ExecutionStatus = 'Completed'", p.queue)
	for name := range p.opts.searchAttributes {
		query += " AND " + name + " IS NOT NULL"
	}
	return again(ctx, func(ctx context.Context) error {
		found, err := p.workflows.CountWorkflowExecutions(ctx, &workflowservice.CountWorkflowExecutionsRequest{
			Namespace: p.namespace, Query: query,
		})
		if err != nil {
			return err
		}
		if int(found.Count) < want {
			return fmt.Errorf("%d of %d workflows are found by their search attributes", found.Count, want)
		}
		return nil
	})
}

// sample is a value of a search attribute's type, in the SDKs' JSON encoding.
func sample(kind enumspb.IndexedValueType) *commonpb.Payload {
	value := `"slipway-readiness"`
	switch kind {
	case enumspb.INDEXED_VALUE_TYPE_INT, enumspb.INDEXED_VALUE_TYPE_DOUBLE:
		value = `1`
	case enumspb.INDEXED_VALUE_TYPE_BOOL:
		value = `true`
	case enumspb.INDEXED_VALUE_TYPE_DATETIME:
		value = `"2000-01-01T00:00:00Z"`
	case enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST:
		value = `["slipway-readiness"]`
	}
	return &commonpb.Payload{
		Metadata: map[string][]byte{"encoding": []byte("json/plain"), "type": []byte(kind.String())},
		Data:     []byte(value),
	}
}

// again repeats a call until it succeeds, and reports the last failure when ctx ends.
func again(ctx context.Context, call func(context.Context) error) error {
	return againWithin(ctx, callTimeout, call)
}

func againWithin(ctx context.Context, timeout time.Duration, call func(context.Context) error) error {
	var last error
	for {
		bounded, cancel := context.WithTimeout(ctx, timeout)
		err := call(bounded)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			if last == nil {
				last = ctx.Err()
			}
			return last
		case <-time.After(retryPause):
		}
	}
}

// gate keeps SDK clients out until the server is ready. Every SDK asks for the
// system's capabilities before anything else; answering only then makes a
// client's successful dial mean what its caller takes it to mean.
type gate struct{ opened chan struct{} }

func newGate() *gate { return &gate{opened: make(chan struct{})} }

func (g *gate) open() { close(g.opened) }

func (g *gate) intercept(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	_, asksSystem := request.(*workflowservice.GetSystemInfoRequest)
	ours := headers.GetValues(ctx, headers.ClientNameHeaderName)[0] == headers.ClientNameServer
	if asksSystem && !ours {
		select {
		case <-g.opened:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return handler(ctx, request)
}
