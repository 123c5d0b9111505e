package certs

import (
	"container/list"
	"sync"
)

// lru is a map that holds a bounded number of values and drops the least
// recently used first. Safe for concurrent use.
type lru[K comparable, V any] struct {
	max int

	mu     sync.Mutex
	order  *list.List // of *lruItem, the most recently used in front
	byName map[K]*list.Element
}

type lruItem[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](max int) *lru[K, V] {
	return &lru[K, V]{max: max, order: list.New(), byName: map[K]*list.Element{}}
}

func (l *lru[K, V]) get(key K) (value V, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	element, ok := l.byName[key]
	if !ok {
		return value, false
	}
	l.order.MoveToFront(element)
	return element.Value.(*lruItem[K, V]).value, true
}

func (l *lru[K, V]) put(key K, value V) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set(key, value)
}

func (l *lru[K, V]) set(key K, value V) {
	if element, ok := l.byName[key]; ok {
		element.Value.(*lruItem[K, V]).value = value
		l.order.MoveToFront(element)
		return
	}
	if l.order.Len() >= l.max {
		last := l.order.Back()
		l.order.Remove(last)
		delete(l.byName, last.Value.(*lruItem[K, V]).key)
	}
	l.byName[key] = l.order.PushFront(&lruItem[K, V]{key, value})
}

// update changes a value, the zero value if there is none, under the lock.
func (l *lru[K, V]) update(key K, change func(V) V) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var value V
	if element, ok := l.byName[key]; ok {
		value = element.Value.(*lruItem[K, V]).value
	}
	l.set(key, change(value))
}

func (l *lru[K, V]) remove(key K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if element, ok := l.byName[key]; ok {
		l.order.Remove(element)
		delete(l.byName, key)
	}
}

// keys are those whose values are wanted.
func (l *lru[K, V]) keys(wanted func(V) bool) (keys []K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, element := range l.byName {
		if wanted(element.Value.(*lruItem[K, V]).value) {
			keys = append(keys, key)
		}
	}
	return keys
}
