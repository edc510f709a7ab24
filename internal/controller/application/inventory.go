package application

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
)

// Bounds in bytes of the entries as JSON. An object of the API may have 1.5 MB
// and should stay below 1 MiB; a status that is written often should be far
// smaller than that.
const (
	maxInline = 256 << 10
	maxPart   = 768 << 10
)

// sizeOf is about how many bytes an entry takes as JSON.
func sizeOf(e v1alpha1.InventoryEntry) int {
	return len(e.Ref) + len(e.Version) + len(e.Hash) + len(e.Managed) + len(`{"ref":"","version":"","hash":"","managed":""},`)
}

// split returns the entries in parts of at most so many bytes.
func split(entries []v1alpha1.InventoryEntry, most int) [][]v1alpha1.InventoryEntry {
	var parts [][]v1alpha1.InventoryEntry
	size := most
	for _, e := range entries {
		if size += sizeOf(e); size > most || len(parts) == 0 {
			parts, size = append(parts, nil), sizeOf(e)
		}
		last := &parts[len(parts)-1]
		*last = append(*last, e)
	}
	return parts
}

// ReadInventory returns what the status and its parts say was applied.
func ReadInventory(ctx context.Context, c client.Reader, app *v1alpha1.Application) (engine.Inventory, error) {
	inventory := engine.Inventory{}
	add := func(entries []v1alpha1.InventoryEntry) {
		for _, e := range entries {
			if ref, ok := mizzen.ParseRef(e.Ref); ok {
				inventory[ref] = engine.Entry{Version: e.Version, Content: e.Hash, Managed: e.Managed}
			}
		}
	}
	add(app.Status.Inventory.Entries)
	for _, name := range app.Status.Inventory.Parts {
		var part v1alpha1.Inventory
		err := c.Get(ctx, client.ObjectKey{Namespace: app.Namespace, Name: name}, &part)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("inventory %s/%s: %w", app.Namespace, name, err)
		}
		// A part that somebody deleted costs its hashes; the metadata watch
		// still knows the objects.
		add(part.Entries)
	}
	return inventory, nil
}

// writeInventory puts the inventory into the status, or into parts beside it.
// Parts are written before the status that names them.
func writeInventory(ctx context.Context, c client.Client, app *v1alpha1.Application, inventory engine.Inventory) error {
	entries := make([]v1alpha1.InventoryEntry, 0, len(inventory))
	for ref, e := range inventory {
		entries = append(entries, v1alpha1.InventoryEntry{Ref: ref.String(), Version: e.Version, Hash: e.Content, Managed: e.Managed})
	}
	slices.SortFunc(entries, func(a, b v1alpha1.InventoryEntry) int { return cmp.Compare(a.Ref, b.Ref) })
	before := app.Status.Inventory.Parts
	app.Status.Inventory = v1alpha1.InventoryStatus{}
	if len(split(entries, maxInline)) <= 1 {
		app.Status.Inventory.Entries = entries
	} else {
		for _, chunk := range split(entries, maxPart) {
			name := fmt.Sprintf("%s-%d", app.Name, len(app.Status.Inventory.Parts))
			if err := writePart(ctx, c, app, name, chunk); err != nil {
				return err
			}
			app.Status.Inventory.Parts = append(app.Status.Inventory.Parts, name)
		}
	}
	for _, name := range before {
		if !slices.Contains(app.Status.Inventory.Parts, name) {
			part := &v1alpha1.Inventory{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: name}}
			if err := client.IgnoreNotFound(c.Delete(ctx, part)); err != nil {
				return fmt.Errorf("inventory %s/%s: %w", app.Namespace, name, err)
			}
		}
	}
	return nil
}

func writePart(ctx context.Context, c client.Client, app *v1alpha1.Application, name string, entries []v1alpha1.InventoryEntry) error {
	owner := metav1.NewControllerRef(app, v1alpha1.GroupVersion.WithKind("Application"))
	part := &v1alpha1.Inventory{
		ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: name, OwnerReferences: []metav1.OwnerReference{*owner}},
		Entries:    entries,
	}
	err := c.Create(ctx, part)
	if apierrors.IsAlreadyExists(err) {
		var existing v1alpha1.Inventory
		if err = c.Get(ctx, client.ObjectKeyFromObject(part), &existing); err == nil {
			existing.Entries, existing.OwnerReferences = entries, part.OwnerReferences
			err = c.Update(ctx, &existing)
		}
	}
	if err != nil {
		return fmt.Errorf("inventory %s/%s: %w", app.Namespace, name, err)
	}
	return nil
}
