#include "core/plan.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "core/tensor.h"

namespace dl {
namespace {

constexpr size_t kSmallMapping = size_t{16} << 20;

thread_local std::unique_ptr<Planning> current;

}  // namespace

std::atomic<int> plans{0};

PlannedHeap::~PlannedHeap() {
  for (const Range& m : mappings_) munmap(m.begin, m.size);
}

// Alignment to huge pages is without meaning here.
char* PlannedHeap::reserve(size_t size) {
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  mappings_.push_back({static_cast<char*>(data), size});
  return mappings_.back().begin;
}

void PlannedHeap::grow(size_t bytes) {
  figures_.growth += static_cast<int64_t>(bytes);
  figures_.peak_growth = std::max(figures_.peak_growth, figures_.growth);
}

bool PlannedHeap::commit(Range range) {
  grow(range.size);
  return true;
}

void PlannedHeap::decommit(Range range) { figures_.growth -= static_cast<int64_t>(range.size); }

void* PlannedHeap::obtain(size_t size) {
  if (small_.size < size) {
    char* data = reserve(kSmallMapping);
    if (!data) return nullptr;
    small_ = {data, kSmallMapping};
  }
  char* data = small_.begin;
  small_ = {data + size, small_.size - size};
  grow(size);
  return data;
}

void PlannedHeap::give_back(void*, size_t size) { figures_.growth -= static_cast<int64_t>(size); }

void PlannedHeap::start(Heap& real) {
  resemble(real);
  stats_.limit = 0;  // to know by how much it would be passed
  figures_ = {stats_.live, stats_.live, 0, 0, 0, 0};
}

void* PlannedHeap::allocate(size_t bytes) {
  void* data = Heap::allocate(bytes);
  if (!data) return data;
  if (bytes <= kSmall) std::memset(data, 0, bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  since_[data] = ++figures_.moment;
  if (stats_.live >= figures_.peak) {
    figures_.peak = stats_.live;
    figures_.peak_moment = figures_.moment;
  }
  return data;
}

void* PlannedHeap::stand_in(void* real, size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  void* data = block_size(bytes) < kLargeBlock ? obtain(block_size(bytes)) : corresponding(real);
  figures_.growth = figures_.peak_growth = 0;  // the real block has its memory already
  since_[data] = 0;
  return data;
}

PlannedHeap::Figures PlannedHeap::figures() {
  std::lock_guard<std::mutex> lock(mutex_);
  figures_.live = stats_.live;
  return figures_;
}

size_t PlannedHeap::size_at_peak(void* data, size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  return since_.at(data) <= figures_.peak_moment ? block_size(bytes) : 0;
}

Planning* this_threads_plan() { return current.get(); }

void begin_plan(std::shared_ptr<PlannedHeap> heap) {
  if (current) throw std::logic_error("[plan] this thread is making a plan already");
  current = std::make_unique<Planning>();
  current->heap = std::move(heap);
  ++plans;
}

void end_plan() {
  if (!current) return;
  for (const auto& storage : current->written) storage->version.fetch_sub(1, std::memory_order_relaxed);
  current.reset();
  --plans;
}

}  // namespace dl
