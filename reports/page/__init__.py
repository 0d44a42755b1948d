"""What all pages share: parts, drawing, numbers, schemas."""
