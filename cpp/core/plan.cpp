#include "core/plan.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "core/tensor.h"

namespace dl {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kMapping = size_t{64} << 20;

size_t round_up(size_t bytes, size_t step) { return (bytes + step - 1) / step * step; }

// Whether the system gives huge pages to those who ask for them, as the process's heap does.
bool has_huge_pages() {
  static const bool found = [] {
    std::FILE* f = std::fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    if (!f) return false;
    char text[64] = {};
    const bool read = std::fgets(text, sizeof text, f) != nullptr;
    std::fclose(f);
    return read && !std::strstr(text, "[never]");
  }();
  return found;
}

// Of a block of `size` bytes whose first `bytes` were written. Its end is no whole huge page and has small ones.
size_t resident_of(size_t bytes, size_t size) {
  if (size < kPage) return size;
  const size_t huge = size < kHugePage || !has_huge_pages() ? 0 : size / kHugePage * kHugePage;
  if (bytes <= huge) return round_up(bytes, kHugePage);
  return huge + round_up(bytes - huge, kPage);
}

thread_local std::unique_ptr<Planning> current;

}  // namespace

std::atomic<int> plans{0};

PlannedHeap::~PlannedHeap() {
  for (const Mapping& m : mappings_) munmap(m.data, m.size);
}

void* PlannedHeap::obtain(size_t size) {
  if (mappings_.empty() || mappings_.back().size - used_ < size) {
    const size_t needed = std::max(round_up(size, kPage), kMapping);
    void* data = mmap(nullptr, needed, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) return nullptr;
    mappings_.push_back({static_cast<char*>(data), needed});
    used_ = 0;
  }
  void* data = mappings_.back().data + used_;
  used_ += size;
  blocks_[data] = {size};
  return data;
}

void PlannedHeap::give_back(void* data, size_t) {
  const auto at = blocks_.find(data);
  figures_.growth -= static_cast<int64_t>(at->second.resident);
  blocks_.erase(at);
}

void* PlannedHeap::allocate(size_t bytes) {
  void* data = Heap::allocate(bytes);
  if (!data) return data;
  if (bytes <= kSmall) std::memset(data, 0, bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  Block& block = blocks_[data];
  block.since = ++figures_.moment;
  const size_t resident = resident_of(bytes, block.size);
  if (resident > block.resident) {
    figures_.growth += static_cast<int64_t>(resident - block.resident);
    figures_.peak_growth = std::max(figures_.peak_growth, figures_.growth);
    block.resident = resident;
  }
  if (stats_.live >= figures_.peak) {
    figures_.peak = stats_.live;
    figures_.peak_moment = figures_.moment;
  }
  return data;
}

void PlannedHeap::start(Heap& real) {
  resemble(real);
  std::lock_guard<std::mutex> lock(mutex_);
  stats_.limit = 0;  // to know by how much it would be passed
  for (auto& [data, block] : blocks_) block.resident = resident_of(block.size, block.size);
  figures_ = {stats_.live, stats_.live, 0, 0, figures_.moment, figures_.moment};
}

PlannedHeap::Figures PlannedHeap::figures() {
  std::lock_guard<std::mutex> lock(mutex_);
  figures_.live = stats_.live;
  return figures_;
}

size_t PlannedHeap::size_at_peak(void* data, size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  return blocks_.at(data).since <= figures_.peak_moment ? class_of(bytes).size : 0;
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
