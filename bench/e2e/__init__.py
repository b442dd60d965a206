"""The main job, measured: Kafka -> enforce, map, filter -> HTTP or Kafka, every id checked."""
