// The vendor's Go clients, told what to call on standard input: see tests/api/aliyun/drive.rs.
//
// `drive core|tea KEY SECRET`; `core` is alibaba-cloud-sdk-go/services/iot, `tea`
// alibabacloud-go/iot-20180120.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"

	openapi "github.com/alibabacloud-go/darabonba-openapi/client"
	tea "github.com/alibabacloud-go/iot-20180120/v3/client"
	teaerror "github.com/alibabacloud-go/tea/tea"
	sdkerror "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	core "github.com/aliyun/alibaba-cloud-sdk-go/services/iot"
)

// The client has no way to say what is asked.
type unfit struct{ why string }

func (problem unfit) Error() string { return problem.why }

// What is called on a client, whose methods are found by the names of operations.
type call func(address, action string, parameters map[string]string) (any, error)

// The method of an operation, and the struct that its request points to.
func method(client any, action string) (reflect.Value, reflect.Type, error) {
	found := reflect.ValueOf(client).MethodByName(action)
	if !found.IsValid() {
		return found, nil, unfit{action}
	}
	return found, found.Type().In(0).Elem(), nil
}

func answered(out []reflect.Value) (any, error) {
	if problem, _ := out[1].Interface().(error); problem != nil {
		return nil, problem
	}
	return out[0].Elem(), nil
}

func withCore(key, secret string) (call, error) {
	client, problem := core.NewClientWithAccessKey("cn-shanghai", key, secret)
	return func(address, action string, parameters map[string]string) (any, error) {
		run, of, problem := method(client, action)
		if problem != nil {
			return nil, problem
		}
		request := reflect.New(of)
		base := &requests.RpcRequest{}
		base.InitWithApiInfo("Iot", "2018-01-20", action, "", "")
		base.Method, base.Scheme, base.Domain = requests.POST, requests.HTTP, address
		request.Elem().FieldByName("RpcRequest").Set(reflect.ValueOf(base))
		for name, value := range parameters {
			if value == "" {
				return nil, unfit{name + " is empty, and would not be sent"}
			}
		}
		if problem := fill(request.Elem(), "name", parameters); problem != nil {
			return nil, problem
		}
		answer, problem := answered(run.Call([]reflect.Value{request}))
		if problem != nil {
			return nil, problem
		}
		fields := map[string]any{}
		whole := answer.(reflect.Value)
		for at := 0; at < whole.NumField(); at++ {
			if name := whole.Type().Field(at).Tag.Get("json"); name != "" {
				fields[name] = whole.Field(at).Interface()
			}
		}
		return fields, nil
	}, problem
}

func withTea(key, secret string) (call, error) {
	protocol, region := "HTTP", "cn-shanghai"
	return func(address, action string, parameters map[string]string) (any, error) {
		client, problem := tea.NewClient(&openapi.Config{
			AccessKeyId: &key, AccessKeySecret: &secret, Endpoint: &address, Protocol: &protocol, RegionId: &region})
		if problem != nil {
			return nil, problem
		}
		run, of, problem := method(client, action)
		if problem != nil {
			return nil, problem
		}
		request := reflect.New(of)
		if problem := fill(request.Elem(), "json", parameters); problem != nil {
			return nil, problem
		}
		answer, problem := answered(run.Call([]reflect.Value{request}))
		if problem != nil {
			return nil, problem
		}
		return answer.(reflect.Value).FieldByName("Body").Interface(), nil
	}, nil
}

// Sets the fields of a request; `Tag.1.TagKey` is one of a list of structs, `DeviceName.1` one of a list.
func fill(request reflect.Value, tag string, parameters map[string]string) error {
	for name, value := range parameters {
		field, problem := place(request, tag, strings.Split(name, "."))
		if problem != nil {
			return problem
		}
		if problem := set(field, value); problem != nil {
			return problem
		}
	}
	return nil
}

func place(within reflect.Value, tag string, path []string) (reflect.Value, error) {
	for at := 0; at < within.NumField(); at++ {
		name, _, _ := strings.Cut(within.Type().Field(at).Tag.Get(tag), ",")
		if name != path[0] {
			continue
		}
		field := within.Field(at)
		if len(path) == 1 {
			return field, nil
		}
		list := field
		if list.Kind() == reflect.Pointer {
			if list.IsNil() {
				list.Set(reflect.New(list.Type().Elem()))
			}
			list = list.Elem()
		}
		number, problem := strconv.Atoi(path[1])
		if problem != nil || list.Kind() != reflect.Slice {
			return field, unfit{strings.Join(path, ".")}
		}
		for list.Len() < number {
			list.Set(reflect.Append(list, reflect.Zero(list.Type().Elem())))
		}
		one := list.Index(number - 1)
		if len(path) == 2 {
			return one, nil
		}
		if one.Kind() == reflect.Pointer {
			if one.IsNil() {
				one.Set(reflect.New(one.Type().Elem()))
			}
			one = one.Elem()
		}
		return place(one, tag, path[2:])
	}
	return within, unfit{within.Type().Name() + " has no " + path[0]}
}

func set(field reflect.Value, text string) error {
	if field.Kind() == reflect.Pointer {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	switch field.Kind() {
	case reflect.String:
		field.SetString(text)
	case reflect.Bool:
		is, problem := strconv.ParseBool(text)
		if problem != nil {
			return unfit{problem.Error()}
		}
		field.SetBool(is)
	case reflect.Int, reflect.Int32, reflect.Int64:
		number, problem := strconv.ParseInt(text, 10, field.Type().Bits())
		if problem != nil {
			return unfit{problem.Error()}
		}
		field.SetInt(number)
	default:
		return unfit{field.Type().String()}
	}
	return nil
}

func told(do call, line []byte) map[string]any {
	var asked struct {
		Address    string
		Action     string
		Parameters map[string]string
	}
	if problem := json.Unmarshal(line, &asked); problem != nil {
		return map[string]any{"refused": problem.Error()}
	}
	answer, problem := do(asked.Address, asked.Action, asked.Parameters)
	var lacks unfit
	var server sdkerror.Error
	var gateway *teaerror.SDKError
	switch {
	case problem == nil:
		return map[string]any{"answer": answer}
	case errors.As(problem, &lacks):
		return map[string]any{"unfit": lacks.why}
	case errors.As(problem, &server):
		return map[string]any{"refused": server.ErrorCode()}
	case errors.As(problem, &gateway):
		return map[string]any{"refused": *gateway.Code}
	}
	return map[string]any{"refused": problem.Error()}
}

func main() {
	with := map[string]func(string, string) (call, error){"core": withCore, "tea": withTea}
	do, problem := with[os.Args[1]](os.Args[2], os.Args[3])
	if problem != nil {
		fmt.Fprintln(os.Stderr, problem)
		os.Exit(1)
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<24)
	for in.Scan() {
		text, problem := json.Marshal(told(do, in.Bytes()))
		if problem != nil {
			fmt.Fprintln(os.Stderr, problem)
			os.Exit(1)
		}
		fmt.Println(string(text))
	}
}
