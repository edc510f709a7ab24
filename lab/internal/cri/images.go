package cri

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"mizzen.dev/mizzen/lab/internal/cri/image"
)

// imageServer is the CRI's half about images.
type imageServer struct {
	runtimeapi.UnimplementedImageServiceServer
	images *image.Store
	dir    string
}

func imageError(err error) error {
	if errors.Is(err, image.ErrUnknown) {
		return status.Error(codes.NotFound, err.Error())
	}
	return status.Error(codes.FailedPrecondition, err.Error())
}

func describe(i *image.Image) *runtimeapi.Image {
	return &runtimeapi.Image{
		// The kubelet takes 0 bytes for an error.
		Id: i.Name, RepoTags: []string{i.Name}, Size: max(i.Size, 1),
		Uid: &runtimeapi.Int64Value{Value: i.User}, Spec: &runtimeapi.ImageSpec{Image: i.Name},
	}
}

// PullImage succeeds if the image is in the table and its files are there.
func (s *imageServer) PullImage(_ context.Context, r *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	if err := s.images.Reload(); err != nil {
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	i, err := s.images.Get(r.GetImage().GetImage())
	if err != nil {
		return nil, imageError(err)
	}
	return &runtimeapi.PullImageResponse{ImageRef: i.Name}, nil
}

// ImageStatus describes an image; one whose files are missing is not there,
// so that the kubelet pulls it and hears why.
func (s *imageServer) ImageStatus(_ context.Context, r *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	i, err := s.images.Get(r.GetImage().GetImage())
	if err != nil {
		return &runtimeapi.ImageStatusResponse{}, nil
	}
	return &runtimeapi.ImageStatusResponse{Image: describe(i)}, nil
}

// ListImages lists the images whose files are there.
func (s *imageServer) ListImages(_ context.Context, r *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	out := &runtimeapi.ListImagesResponse{}
	if name := r.GetFilter().GetImage().GetImage(); name != "" {
		if i, err := s.images.Get(name); err == nil {
			out.Images = append(out.Images, describe(i))
		}
		return out, nil
	}
	for _, i := range s.images.All() {
		out.Images = append(out.Images, describe(i))
	}
	return out, nil
}

// RemoveImage does nothing: the files belong to whoever built them.
func (s *imageServer) RemoveImage(context.Context, *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error) {
	return &runtimeapi.RemoveImageResponse{}, nil
}

// ImageFsInfo names the file system of the server's directory, which is the
// kubelet's as well, for images and containers.
func (s *imageServer) ImageFsInfo(context.Context, *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error) {
	var bytes, files uint64
	seen := map[string]bool{}
	for _, i := range s.images.All() {
		for _, f := range i.Files {
			if !seen[f] {
				seen[f], files = true, files+1
			}
		}
		bytes += i.Size
	}
	usage := []*runtimeapi.FilesystemUsage{filesystem(s.dir, bytes, files)}
	return &runtimeapi.ImageFsInfoResponse{ImageFilesystems: usage, ContainerFilesystems: usage}, nil
}

func filesystem(mountpoint string, bytes, inodes uint64) *runtimeapi.FilesystemUsage {
	return &runtimeapi.FilesystemUsage{
		Timestamp: time.Now().UnixNano(), FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: mountpoint},
		UsedBytes: number(bytes), InodesUsed: number(inodes),
	}
}

func number(n uint64) *runtimeapi.UInt64Value { return &runtimeapi.UInt64Value{Value: n} }
