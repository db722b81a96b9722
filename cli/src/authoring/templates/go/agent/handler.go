// Package export_ringfence_agent_handler is the agent: it hands the conversation to a model, makes
// the calls that the model asks for, and answers when the model has no more to ask.
// `ringfence build` writes the bindings around it; the package's name is theirs.
package export_ringfence_agent_handler

import (
	"fmt"

	witTypes "go.bytecodealliance.org/pkg/wit/types"

	models "wit_component/ringfence_agent_models"
	tools "wit_component/ringfence_agent_tools"
	types "wit_component/ringfence_agent_types"
)

// turns is the most turns of the model before the agent gives up.
const turns = 8

const instructions = "Answer briefly. Use the tools for facts and calculations."

// Handle answers a conversation, oldest message first.
func Handle(messages []types.Message) witTypes.Result[[]types.Part, types.Error] {
	parts, failure := converse(messages)
	if failure != nil {
		return witTypes.Err[[]types.Part](*failure)
	}
	return witTypes.Ok[[]types.Part, types.Error](parts)
}

func converse(messages []types.Message) ([]types.Part, *types.Error) {
	// Only what was granted is listed; the first model is the default one.
	granted, failure := unpack(models.List())
	if failure != nil {
		return nil, failure
	}
	if len(granted) == 0 {
		return nil, fail(types.MakeErrorInvalid("this agent has no model"))
	}
	functions, failure := unpack(tools.List())
	if failure != nil {
		return nil, failure
	}
	system := types.Message{Role: types.Role_System, Content: []types.Part{types.MakePartText(instructions)}}
	request := models.Request{
		Model:      granted[0].Name,
		Messages:   append([]types.Message{system}, messages...),
		ToolChoice: models.MakeToolChoiceAuto(),
		Options: models.Options{
			Temperature:    witTypes.None[float64](),
			TopP:           witTypes.None[float64](),
			MaxTokens:      witTypes.None[uint32](),
			Seed:           witTypes.None[uint64](),
			ResponseSchema: witTypes.None[string](),
		},
	}
	for _, function := range functions {
		request.Tools = append(request.Tools, models.ToolDefinition{
			Name:        function.Name,
			Description: function.Description,
			Parameters:  function.InputSchema,
		})
	}

	for range turns {
		completion, failure := unpack(models.Complete(request))
		if failure != nil {
			return nil, failure
		}
		turn := completion.Message
		if len(turn.ToolCalls) == 0 {
			return turn.Content, nil
		}
		calls := make([]tools.CallRequest, len(turn.ToolCalls))
		for index, call := range turn.ToolCalls {
			calls[index] = tools.CallRequest{Name: call.Name, Arguments: call.Arguments}
		}
		results := types.Message{Role: types.Role_Tool}
		// The host makes the calls at the same time, each in the tool's own sandbox.
		for index, outcome := range tools.CallAll(calls) {
			result, failure := unpack(outcome)
			if failure != nil {
				// A call that fails is not the end: the model reads why.
				result.Content = []types.Part{types.MakePartText(fmt.Sprintf("the call failed: %+v", *failure))}
				result.IsError = true
			}
			results.ToolResults = append(results.ToolResults, types.ToolResult{
				Id:      turn.ToolCalls[index].Id,
				Content: result.Content,
				IsError: result.IsError,
			})
		}
		request.Messages = append(request.Messages, turn, results)
	}
	return nil, fail(types.MakeErrorFailed(fmt.Sprintf("the model had no answer after %d turns", turns)))
}

// unpack turns a WIT result into Go's pair of a value and an error.
func unpack[T any](result witTypes.Result[T, types.Error]) (T, *types.Error) {
	if result.IsErr() {
		var none T
		return none, fail(result.Err())
	}
	return result.Ok(), nil
}

func fail(failure types.Error) *types.Error {
	return &failure
}
