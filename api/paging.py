"""What all lists share: which page is asked for, and where in the list it is."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.documents import ListMeta
from db.lists import Page


class ListQuery(BaseModel):
    """The parameters of a list. Each adds its `sort` and its filters; what it does not know is refused."""

    model_config = ConfigDict(extra="forbid")

    number: Annotated[int, Field(alias="page[number]", ge=1, description="Pages count from 1.")] = 1
    size: Annotated[int, Field(alias="page[size]", ge=1, le=100, description="Rows on a page.")] = 20
    sort: Any

    def page(self) -> Page:
        """The page as queries take it."""
        return Page(
            number=self.number,
            size=self.size,
            sort=self.sort.removeprefix("-"),
            descending=self.sort.startswith("-"),
        )

    def meta(self, total: int) -> ListMeta:
        """Where the page is in a list that long."""
        return ListMeta(total=total, page=self.number, per_page=self.size, total_pages=-(-total // self.size))
