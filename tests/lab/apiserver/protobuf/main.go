// Writes src/stockade/lab/apiserver/protobuf_fields.txt (the field numbers of the Kubernetes API's protobuf form) and bodies.jsonl (every kind of it, each
// message filled once, as protobuf and as JSON) from the Go types of the API. Run here, after "go mod tidy": go run . ../../../..
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	apps "k8s.io/api/apps/v1"
	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	autoscaling "k8s.io/api/autoscaling/v1"
	batch "k8s.io/api/batch/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	events "k8s.io/api/events/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var kinds = []struct {
	version string
	objects []runtime.Object
}{
	{"v1", []runtime.Object{&core.Binding{}, &core.ConfigMap{}, &core.Endpoints{}, &core.Event{}, &core.Namespace{}, &core.Node{},
		&core.Pod{}, &core.ReplicationController{}, &core.Secret{}, &core.Service{}, &core.ServiceAccount{}}},
	{"apiextensions.k8s.io/v1", []runtime.Object{&extensions.CustomResourceDefinition{}}},
	{"apps/v1", []runtime.Object{&apps.ControllerRevision{}, &apps.DaemonSet{}, &apps.Deployment{}, &apps.ReplicaSet{}, &apps.StatefulSet{}}},
	{"authentication.k8s.io/v1", []runtime.Object{&authentication.SelfSubjectReview{}, &authentication.TokenRequest{}, &authentication.TokenReview{}}},
	{"authorization.k8s.io/v1", []runtime.Object{&authorization.LocalSubjectAccessReview{}, &authorization.SelfSubjectAccessReview{},
		&authorization.SelfSubjectRulesReview{}, &authorization.SubjectAccessReview{}}},
	{"autoscaling/v1", []runtime.Object{&autoscaling.Scale{}}},
	{"batch/v1", []runtime.Object{&batch.Job{}}},
	{"coordination.k8s.io/v1", []runtime.Object{&coordination.Lease{}}},
	{"discovery.k8s.io/v1", []runtime.Object{&discovery.EndpointSlice{}}},
	{"events.k8s.io/v1", []runtime.Object{&events.Event{}}},
	{"meta.k8s.io/v1", []runtime.Object{&meta.DeleteOptions{}}},
	{"networking.k8s.io/v1", []runtime.Object{&networking.NetworkPolicy{}}},
	{"policy/v1", []runtime.Object{&policy.Eviction{}, &policy.PodDisruptionBudget{}}},
}

// What is not written field by field: the name of its decoder.
var special = map[reflect.Type]string{
	reflect.TypeFor[meta.Time]():            "time",
	reflect.TypeFor[meta.MicroTime]():       "microtime",
	reflect.TypeFor[resource.Quantity]():    "quantity",
	reflect.TypeFor[intstr.IntOrString]():   "intstr",
	reflect.TypeFor[meta.FieldsV1]():        "json",
	reflect.TypeFor[runtime.RawExtension](): "json",
	reflect.TypeFor[extensions.JSON]():      "json",
}

var samples = map[reflect.Type]any{
	reflect.TypeFor[meta.Time]():            meta.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)),
	reflect.TypeFor[meta.MicroTime]():       meta.NewMicroTime(time.Date(2026, 1, 2, 3, 4, 5, 600000000, time.UTC)),
	reflect.TypeFor[resource.Quantity]():    resource.MustParse("1500m"),
	reflect.TypeFor[intstr.IntOrString]():   intstr.FromString("web"),
	reflect.TypeFor[meta.FieldsV1]():        *meta.NewFieldsV1(`{"f:data":{}}`),
	reflect.TypeFor[runtime.RawExtension](): runtime.RawExtension{Raw: []byte(`{"a":[1]}`)},
	reflect.TypeFor[extensions.JSON]():      extensions.JSON{Raw: []byte(`{"a":[1]}`)},
}

var byName, names = map[string]reflect.Type{}, map[reflect.Type]string{}

// Two messages of one name: the later one is told apart by its package.
func name(t reflect.Type) string {
	if known, ok := names[t]; ok {
		return known
	}
	found := t.Name()
	if _, taken := byName[found]; taken {
		parts := strings.Split(t.PkgPath(), "/")
		found = parts[len(parts)-2] + "." + found
	}
	byName[found], names[t] = t, found
	if _, either := reflect.New(t).Interface().(json.Marshaler); either && t.Kind() == reflect.Struct {
		delete(byName, found)
		for i := range t.NumField() {
			word(t.Field(i).Type)
		}
		return found
	}
	for i := range t.NumField() {
		if number(t.Field(i)) != "" {
			word(t.Field(i).Type)
		}
	}
	return found
}

func number(field reflect.StructField) string {
	parts := strings.Split(field.Tag.Get("protobuf"), ",")
	if len(parts) < 2 {
		return ""
	}
	return parts[1]
}

func word(t reflect.Type) string {
	if found, ok := special[t]; ok {
		return found
	}
	switch t.Kind() {
	case reflect.Pointer:
		return "*" + word(t.Elem())
	case reflect.String:
		return ""
	case reflect.Bool:
		return "bool"
	case reflect.Int32, reflect.Int64:
		return "int"
	case reflect.Float64:
		return "double"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		return "list/" + word(t.Elem())
	case reflect.Map:
		if t.Elem().Kind() == reflect.Slice && t.Elem().Name() != "" { // a message of its own, as ExtraValue
			return "map/strings"
		}
		return "map/" + word(t.Elem())
	case reflect.Struct:
		return name(t)
	}
	panic(t)
}

func line(found string) string {
	t, fields := byName[found], []string{}
	for i := range t.NumField() {
		field := t.Field(i)
		if number(field) == "" {
			continue
		}
		label, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if label == "" && field.Anonymous {
			label = "^"
		}
		if kind := word(field.Type); kind != "" {
			label += ":" + kind
		}
		fields = append(fields, number(field)+" "+label)
	}
	return found + " = " + strings.Join(fields, ", ")
}

var filled = map[reflect.Type]bool{}

// Every message is filled once; where it is met again, its first field must do.
func fill(v reflect.Value) {
	t := v.Type()
	if sample, ok := samples[t]; ok {
		v.Set(reflect.ValueOf(sample))
		return
	}
	switch t.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		fill(v.Elem())
	case reflect.String:
		v.SetString("é")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(-300)
	case reflect.Float64:
		v.SetFloat(-1.5)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte{0, 255})
			return
		}
		v.Set(reflect.MakeSlice(t, 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		item := reflect.New(t.Elem()).Elem()
		fill(item)
		v.SetMapIndex(reflect.ValueOf("k/é").Convert(t.Key()), item)
	case reflect.Struct:
		again := filled[t]
		filled[t] = true
		for i := range t.NumField() {
			field := v.Field(i)
			if number(t.Field(i)) == "" || again && field.Kind() != reflect.String && field.Kind() != reflect.Bool && !t.Field(i).Anonymous {
				continue
			}
			fill(field)
			if again {
				return
			}
		}
	}
}

// One way each of the values which are either this or that.
func settle(crd *extensions.CustomResourceDefinition) {
	text, schema := extensions.JSONSchemaProps{Type: "string"}, crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	schema.Items = &extensions.JSONSchemaPropsOrArray{Schema: &text}
	schema.AdditionalItems = &extensions.JSONSchemaPropsOrBool{Allows: true}
	schema.AdditionalProperties = &extensions.JSONSchemaPropsOrBool{Allows: true, Schema: &text}
	schema.Dependencies = extensions.JSONSchemaDependencies{"a": {Property: []string{"b"}}, "c": {Schema: &text}}
	schema.Default = &extensions.JSON{Raw: []byte(`{"a":[1,null]}`)}
	schema.Not = &extensions.JSONSchemaProps{Items: &extensions.JSONSchemaPropsOrArray{JSONSchemas: []extensions.JSONSchemaProps{text}}}
	schema.Not.AdditionalProperties = &extensions.JSONSchemaPropsOrBool{}
}

func main() {
	scheme := runtime.NewScheme()
	var table, bodies, heads bytes.Buffer
	for _, group := range kinds {
		gv, _ := schema.ParseGroupVersion(group.version)
		fmt.Fprintf(&heads, "@%s =", group.version)
		for _, object := range group.objects {
			t := reflect.TypeOf(object).Elem()
			fmt.Fprintf(&heads, " %s", t.Name())
			if message := name(t); message != t.Name() {
				fmt.Fprintf(&heads, ":%s", message)
			}
			fill(reflect.ValueOf(object).Elem())
			if crd, ok := object.(*extensions.CustomResourceDefinition); ok {
				settle(crd)
			}
			object.GetObjectKind().SetGroupVersionKind(gv.WithKind(t.Name()))
			var body bytes.Buffer
			check(protobuf.NewSerializer(scheme, scheme).Encode(object, &body))
			text, err := json.Marshal(object)
			check(err)
			fmt.Fprintf(&bodies, "{\"json\":%s,\"protobuf\":\"%s\"}\n", text, base64.StdEncoding.EncodeToString(body.Bytes()))
		}
		fmt.Fprintln(&heads)
	}
	table.WriteString(header + heads.String())
	for _, found := range slices.Sorted(maps.Keys(byName)) {
		fmt.Fprintln(&table, line(found))
	}
	check(os.WriteFile(filepath.Join(os.Args[1], "src/stockade/lab/apiserver/protobuf_fields.txt"), table.Bytes(), 0o644))
	check(os.WriteFile("bodies.jsonl", bodies.Bytes(), 0o644))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

const header = `# Field numbers of the Kubernetes API's protobuf form (k8s.io/api 0.37), made by tests/lab/apiserver/protobuf/main.go; read by protobuf.py.
# @APIVERSION = KIND[:MESSAGE] ...; then one message per line: NUMBER NAME[:TYPE], no TYPE is a string; * keeps a given zero value (a pointer in
# the API); list/ and map/ (string keys) hold the type that follows; ^ is a message whose fields belong to the outer one.
`
