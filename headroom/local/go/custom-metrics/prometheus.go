package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider/defaults"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider/helpers"
)

// A series of Prometheus under its own name, as a metric of the pods that it names. A pod without the series has no
// value, and an error of Prometheus is an error: the autoscaler then knows that it is blind.
type prometheus struct {
	defaults.DefaultCustomMetricsProvider
	address string
	client  dynamic.Interface
	mapper  apimeta.RESTMapper
	web     http.Client
}

func newProvider(address string, client dynamic.Interface, mapper apimeta.RESTMapper) provider.CustomMetricsProvider {
	return &prometheus{address: address, client: client, mapper: mapper, web: http.Client{Timeout: 5 * time.Second}}
}

func (p *prometheus) GetMetricByName(
	ctx context.Context, name types.NamespacedName, info provider.CustomMetricInfo, _ labels.Selector,
) (*custom_metrics.MetricValue, error) {
	found, err := p.values(ctx, name.Namespace, []string{name.Name}, info)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, provider.NewMetricNotFoundForError(info.GroupResource, info.Metric, name.Name)
	}
	return &found[0], nil
}

func (p *prometheus) GetMetricBySelector(
	ctx context.Context, namespace string, selector labels.Selector, info provider.CustomMetricInfo, _ labels.Selector,
) (*custom_metrics.MetricValueList, error) {
	names, err := helpers.ListObjectNames(p.mapper, p.client, namespace, selector, info)
	if err != nil {
		return nil, err
	}
	found, err := p.values(ctx, namespace, names, info)
	if err != nil {
		return nil, err
	}
	return &custom_metrics.MetricValueList{Items: found}, nil
}

// The values of pods by name, those that Prometheus has.
func (p *prometheus) values(
	ctx context.Context, namespace string, names []string, info provider.CustomMetricInfo,
) ([]custom_metrics.MetricValue, error) {
	if info.GroupResource.Resource != "pods" || len(names) == 0 {
		return nil, provider.NewMetricNotFoundError(info.GroupResource, info.Metric)
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = regexp.QuoteMeta(name)
	}
	query := fmt.Sprintf("sum by (pod) (%s{namespace=%q,pod=~%q})", info.Metric, namespace, strings.Join(quoted, "|"))
	series, err := p.ask(ctx, query)
	if err != nil {
		return nil, err
	}
	var found []custom_metrics.MetricValue
	for pod, value := range series {
		reference, err := helpers.ReferenceFor(p.mapper, types.NamespacedName{Namespace: namespace, Name: pod}, info)
		if err != nil {
			return nil, err
		}
		found = append(found, custom_metrics.MetricValue{
			DescribedObject: reference,
			Metric:          custom_metrics.MetricIdentifier{Name: info.Metric},
			Timestamp:       metav1.Now(),
			Value:           *resource.NewMilliQuantity(int64(value*1000), resource.DecimalSI),
		})
	}
	return found, nil
}

func (p *prometheus) ask(ctx context.Context, query string) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.address+"/api/v1/query?query="+url.QueryEscape(query), nil)
	if err != nil {
		return nil, err
	}
	response, err := p.web.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("%s answers %s: %w", p.address, response.Status, err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("%s refuses %s: %s", p.address, query, answer.Error)
	}
	found := map[string]float64{}
	for _, series := range answer.Data.Result {
		text, _ := series.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		found[series.Metric["pod"]] = value
	}
	return found, nil
}
