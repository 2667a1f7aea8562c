package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const provisioner = "headroom.dev/local-volumes"

// folders makes a volume of each claim: a folder that every user may write, as pods here do not run as root and not all
// of them ask for a group of files.
type folders struct{ root string }

func (volumes folders) Provision(_ context.Context, wanted controller.ProvisionOptions) (*core.PersistentVolume, controller.ProvisioningState, error) {
	path := filepath.Join(volumes.root, wanted.PVName)
	if err := os.Mkdir(path, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, controller.ProvisioningFinished, err
	}
	if err := os.Chmod(path, 0o777); err != nil { // Mkdir's mode went through the umask
		return nil, controller.ProvisioningFinished, err
	}
	mode := core.PersistentVolumeFilesystem
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: wanted.PVName},
		Spec: core.PersistentVolumeSpec{
			AccessModes:                   wanted.PVC.Spec.AccessModes,
			Capacity:                      core.ResourceList{core.ResourceStorage: wanted.PVC.Spec.Resources.Requests[core.ResourceStorage]},
			PersistentVolumeReclaimPolicy: *wanted.StorageClass.ReclaimPolicy,
			VolumeMode:                    &mode,
			PersistentVolumeSource:        core.PersistentVolumeSource{Local: &core.LocalVolumeSource{Path: path}},
			NodeAffinity: &core.VolumeNodeAffinity{Required: &core.NodeSelector{NodeSelectorTerms: []core.NodeSelectorTerm{{
				MatchExpressions: []core.NodeSelectorRequirement{{
					Key: core.LabelHostname, Operator: core.NodeSelectorOpIn, Values: []string{wanted.SelectedNodeName},
				}},
			}}}},
		},
	}, controller.ProvisioningFinished, nil
}

func (volumes folders) Delete(_ context.Context, volume *core.PersistentVolume) error {
	return os.RemoveAll(filepath.Join(volumes.root, volume.Name))
}

// grow gives a bound claim the size that it asks for: a folder has no size of its own, so only the two figures change.
func grow(ctx context.Context, client kubernetes.Interface, claim *core.PersistentVolumeClaim) error {
	asked := claim.Spec.Resources.Requests[core.ResourceStorage]
	has := claim.Status.Capacity[core.ResourceStorage]
	if claim.Status.Phase != core.ClaimBound || asked.Cmp(has) <= 0 {
		return nil
	}
	volume, err := client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, meta.GetOptions{})
	if err != nil || volume.Annotations["pv.kubernetes.io/provisioned-by"] != provisioner {
		return err
	}
	volume.Spec.Capacity[core.ResourceStorage] = asked
	if _, err := client.CoreV1().PersistentVolumes().Update(ctx, volume, meta.UpdateOptions{}); err != nil {
		return err
	}
	claim = claim.DeepCopy()
	claim.Status.Capacity[core.ResourceStorage] = asked
	claim.Status.Conditions = nil
	_, err = client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, claim, meta.UpdateOptions{})
	return err
}

func provisionVolumes() error {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	root := flag.String("root", "", "the folder that volumes lie in")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	factory := informers.NewSharedInformerFactory(client, 0)
	claims := factory.Core().V1().PersistentVolumeClaims().Informer()
	resize := func(object any) {
		if err := grow(ctx, client, object.(*core.PersistentVolumeClaim)); err != nil {
			klog.ErrorS(err, "growing a volume")
		}
	}
	if _, err := claims.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    resize,
		UpdateFunc: func(_, object any) { resize(object) },
	}); err != nil {
		return err
	}
	factory.Start(ctx.Done())

	work := controller.NewProvisionController(ctx, client, provisioner, folders{*root},
		controller.LeaderElection(false), controller.ClaimsInformer(claims))
	work.Run(ctx)
	return fmt.Errorf("the provisioner ended")
}
